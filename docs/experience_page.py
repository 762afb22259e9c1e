"""The page about what was learned from runs of known truth: docs/what-it-learned.md."""

from __future__ import annotations

from lossdoctor.engine.experience import HARM, LEAST_POINTS, OWN, RAISED, RULES_SHARE, experience
from lossdoctor.engine.vitals import CURVE_SIGNS, RUN_SIGNS

INTRO = """\
# What it learned, and how it uses it

The rules decide what is wrong with a run, by statistical tests on its own noise. How sure one may be of a finding, what
most likely causes it and what most likely helps was learned from runs of which that is known: the [clinic](quality.md),
where every sick run is trained again with every remedy.

Three forests of decision trees look at the run's *vital signs* (below) and at everything the rules found. They ship as
plain JSON (`lossdoctor/engine/experience.json`), followed by a few lines of Python: no pickle, no
machine-learning package. `python -m benchmarks.advice.fit` fits them again and prints what they are worth on tasks that
they have not seen.

{fitted}

## What they change

- **Actions** of the finding to act on are put in the order of their worth: the share of runs like this one that the
  action helped, less {harm:g} times the share that it harmed. An action that the rule itself proposes counts {own:g}
  more. `helps` in the JSON, "helped 81% of runs like it" in the text, is that share.
- **Causes** of that finding weigh the rule's own likelihoods ({rules:.0%}) and the forest's ({forest:.0%}).
- **Confidence** of a warning or critical becomes a probability, by a logistic curve per code (`calibrated: true`).
- **Severity**: a remark ({raised}) becomes a warning when the chance that something is wrong with the run as a whole
  reaches {alarm:.0%}. The evidence then shows the signs that moved it most. Real public logs are among the healthy and
  sick runs that this threshold is set on.

Runs with fewer than {least} points of the loss are left as the rules see them.

## The vital signs

None depends on the unit of the loss (but for the two that compare a cross-entropy with ln K) or on how often it was
logged. What a log does not show is unknown, and the trees then go on without it.
"""


def page() -> str:
    """The page as Markdown."""
    known = experience()
    facts = known.fitted
    fitted = (
        f"They were fitted on {facts['healthy_runs']} healthy and {facts['sick_runs']} sick runs of "
        f"{len(facts['tasks'])} tasks (clinic {facts['clinic']}), {facts['treated_runs']} of the sick ones with every "
        f"remedy tried, and on the vital signs of {facts['real_logs']} real public logs."
    )
    text = INTRO.format(
        fitted=fitted,
        harm=HARM,
        own=OWN,
        rules=RULES_SHARE,
        forest=1.0 - RULES_SHARE,
        raised=", ".join(sorted(RAISED)),
        alarm=known.alarm,
        least=LEAST_POINTS,
    )
    lines = [text, "| sign | of the training (`train_…`) and the validation loss (`val_…`) |", "|---|---|"]
    lines += [f"| `…_{name}` | {words} |" for name, words in CURVE_SIGNS.items()]
    lines += ["", "| sign | of the run |", "|---|---|"]
    lines += [f"| `{name}` | {words} |" for name, words in RUN_SIGNS.items()]
    return "\n".join(lines) + "\n"
