"""How often lossdoctor is right on runs whose truth is known: ``python -m benchmarks.quality [--part PART]``.

Writes ``docs/quality.md`` and prints it. ``ten`` trains (once) and judges only the first table: ten faults and their
ten healthy twins. ``all`` and ``tuning`` judge what is in the cache, beside the peers; ``python -m benchmarks.clinic``
fills it. ``small`` is the clinic of :mod:`benchmarks.clinic.small`. Whatever looks at the held-out half is noted in its
log; ``tuning`` does not look.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import sys
import textwrap
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import Any

from benchmarks.advice import dataset
from benchmarks.clinic import cases, corpus, draws, faults, frozen, report, scoring, small
from benchmarks.clinic.config import VERSION
from benchmarks.clinic.judged import Judged, judge, share
from benchmarks.clinic.report import table
from benchmarks.peers.trees import Trees
from lossdoctor.rules import find_rule

TARGET = Path(__file__).parents[1] / "docs" / "quality.md"
TEN = (
    "nan_in_data",
    "lr_diverging",
    "lr_oscillating",
    "lr_low",
    "decayed_early",
    "overfitting",
    "underfitting",
    "frozen_parameters",
    "missing_zero_grad",
    "spike_unrecovered",
)
TRUTH = (
    "The runs are real trainings of small models: ten tasks on data that comes with scikit-learn and Python, with the "
    "optimizers, schedules, batch sizes and loggers that people use. What is true of a run is told from data that the "
    "log does not show: a run counts as healthy only if its loss on held-out examples ended near its best, near what "
    "the task allows, and level; a fault counts only if it did visible harm against a twin trained without it. A "
    "*right code* is any finding that names the disease or its direct symptom; an *alarm* is a status of warning or "
    "critical. Intervals of single counts are Wilson's at 95 %; those side by side draw whole tasks (bootstrap)."
)
CAUSAL = (
    "Advice is scored by what it leads to: every sick run is trained again, from the same seed and for the same number "
    "of steps (three times as many for `train_longer`), with every action of the catalogue as one fixed change "
    "(`benchmarks/clinic/remedies.py`). An action is *right* when the final held-out loss is at least 5 % lower, "
    "*harmful* when it is at least 5 % higher; a loss that is NaN counts as infinite. `check_*` actions are right when "
    "the fault lies where they tell to look. A run is *treatable* when some action, or the repair that a right check "
    "leads to, lowers the loss by a third. Advice is counted on all treatable runs, with or without an alarm."
)
CAUTION = (
    "They are small models and injected faults: read the figures as a check of the detectors, and not as the rate at "
    "which they are right on runs of every size and kind. No threshold is tuned and nothing is fitted on the held-out "
    "parts: one is of other tasks and architectures, with faults old and new, one of the tuned tasks with other seeds. "
    "They are frozen by hash (`benchmarks/clinic/held_out.tsv`), and every evaluation on them is noted in "
    "`held_out_log.tsv` beside it, those from before they were frozen too."
)
HELD_OUT_TITLES = {
    "Other tasks and architectures, held out": corpus.OTHER_TASKS,
    "The tuned tasks with other seeds, held out": corpus.HELD_OUT,
}
TUNED_ON = (
    "**This report does not look at the held-out parts.** All its figures are of runs that thresholds were calibrated "
    "and forests fitted on: expect worse on others."
)
HIDDEN = (
    "Not all of these can be seen in a log: a double softmax, wrong labels, outliers or a model too small level off "
    "like a healthy run, only higher, and the log does not say how low the task could go. Active tests on the model "
    "can tell."
)


def ten_pairs() -> list[tuple[Judged, Judged]]:
    """For each of the ten faults the first held-out run on which it has a visible effect, and its healthy twin.

    Tasks do not repeat while there are others to choose from.
    """
    pairs: list[tuple[Judged, Judged]] = []
    used: Counter[str] = Counter()
    for name in TEN:
        best: tuple[dict[str, Any], dict[str, Any]] | None = None
        for index in islice(draws.indices_of(name, corpus.HELD_OUT), 4):
            drawn = corpus.sick_config(index)
            if drawn is None:
                continue
            entry, twin = corpus.load(drawn[0]), corpus.load(drawn[1])
            if not corpus.index_row(entry, twin)["visible"]:
                continue
            if best is None or used[drawn[0].task] < used[best[0]["config"]["task"]]:
                best = entry, twin
            if used[drawn[0].task] == 0:
                break
        if best is not None:
            used[best[0]["config"]["task"]] += 1
            pairs.append((judge(*best), judge(best[1])))
    return pairs


def _percent(error: float | None) -> str:
    return "" if error is None else f"{100 * error:+.1f} %"


def first_table(pairs: Sequence[tuple[Judged, Judged]]) -> list[str]:
    """The ten faults and their twins."""
    rows: list[list[object]] = []
    for sick, twin in pairs:
        rows.append(
            [
                sick.fault,
                sick.truth["task"],
                sick.truth["outcome"],
                " ".join(f"**{c}**" if c in sick.right else c for c in sick.codes) or "none",
                sick.diagnosis.status,
                "yes" if sick.status_right else "**no**",
                "" if sick.truth["onset_step"] is None else sick.truth["onset_step"],
                "" if sick.onset_found is None else sick.onset_found,
                _percent(sick.onset_error),
                twin.diagnosis.status,
                " ".join(twin.alarm_codes) or "none",
            ]
        )
    found = sum(bool(s.right) for s, _ in pairs)
    status = sum(s.status_right for s, _ in pairs)
    false = sum(t.diagnosis.alarm for _, t in pairs)
    head = ["fault", "task", "effect", "found", "status", "status right", "onset", "onset found", "error"]
    return [
        "## Ten faults and their healthy twins",
        "",
        "Each run was trained with the fault, and again from the same seed and settings without it. Codes that are",
        "a right answer for the fault are bold. The error of the onset is a share of the run's length. A run that",
        "learns too slowly (`lr_low`) deserves a remark and no alarm: it is not broken.",
        "",
        *table([*head, "twin's status", "twin's false alarms"], rows),
        "",
        f"A right code is among the findings in {share(found, len(pairs))}; the status is right in "
        f"{share(status, len(pairs))}; false alarms among the twins: {share(false, len(pairs))}.",
        "",
    ]


def corpus_tables(title: str, healthy: Sequence[Judged], sick: Sequence[Judged]) -> list[str]:
    """Detection by fault, false alarms by kind of run, and the error of the onsets."""
    good = [j for j in healthy if j.truth["verified"]]
    visible = [j for j in sick if j.truth["visible"]]
    lines = [f"## {title}", ""]
    lines += [
        f"{len(good)} healthy runs, {len(visible)} sick runs with a visible effect.",
        f"Left out: {_left_out(healthy, sick)}.",
        "",
    ]
    lines += ["### Found, by fault", ""]
    by_fault = _grouped(visible, lambda j: j.fault)
    rows: list[list[object]] = []
    for name in faults.names():
        group = by_fault.get(name, [])
        if group:
            alarms = sum(j.diagnosis.alarm for j in group)
            first = Counter(j.codes[0] if j.codes else "none" for j in group).most_common(3)
            wanted = "alarm" if faults.get(name).alarm else "remark"
            right = share(sum(bool(j.right) for j in group), len(group))
            firsts = ", ".join(f"{code} ×{count}" for code, count in first)
            rows.append([name, wanted, right, share(alarms, len(group)), firsts])
    serious = [j for j in visible if faults.get(j.fault).alarm]
    total = share(sum(bool(j.right) for j in visible), len(visible))
    rows.append(["**all**", "", total, share(sum(j.diagnosis.alarm for j in visible), len(visible)), ""])
    alarmed = share(sum(j.diagnosis.alarm for j in serious), len(serious))
    rows.append(
        ["**those that deserve an alarm**", "", share(sum(bool(j.right) for j in serious), len(serious)), alarmed, ""]
    )
    lines += [*table(["fault", "deserves", "a right code found", "alarm", "finding told first"], rows), ""]
    lines += ["### False alarms among healthy runs", ""]
    return [*lines, *_false_alarms(good), "", *_onsets(visible), *_shortfalls(good, visible)]


def _shortfalls(good: Sequence[Judged], visible: Sequence[Judged]) -> list[str]:
    """In words: what is missed or mistaken often, so that nobody has to find it in the tables."""
    lines = ["### Where it falls short", ""]
    for name, group in sorted(_grouped(visible, lambda j: j.fault).items()):
        fault = faults.get(name)
        missed = [j for j in group if not (j.diagnosis.alarm if fault.alarm else j.right)]
        if len(missed) > 0.2 * len(group):
            where = Counter(str(j.truth["task"]) for j in missed).most_common(3)
            tasks = ", ".join(f"{task} ×{count}" for task, count in where)
            what = "raise no alarm" if fault.alarm else "draw no fitting remark"
            awaited = fault.own_code and find_rule(fault.own_code) is None
            why = f" The rule made for it, {fault.own_code}, is not there yet." if awaited else ""
            lines.append(f"- `{name}`: {len(missed)} of {len(group)} {what} (most on {tasks}).{why}")
    mistaken = Counter(c for j in good if j.diagnosis.alarm for c in j.alarm_codes)
    lines += [f"- {code} alarms on {count} of {len(good)} healthy runs." for code, count in mistaken.most_common()]
    if len(lines) == 2:
        return []
    lines += ["", *wrapped(HIDDEN)]
    return [*lines, ""]


def wrapped(text: str) -> list[str]:
    """A paragraph in lines that fit an editor."""
    return textwrap.wrap(text, 112)


def _grouped(runs: Iterable[Judged], key: Callable[[Judged], str]) -> dict[str, list[Judged]]:
    groups: dict[str, list[Judged]] = defaultdict(list)
    for run in runs:
        groups[key(run)].append(run)
    return groups


def _left_out(healthy: Sequence[Judged], sick: Sequence[Judged]) -> str:
    flaws = Counter(j.truth["flaw"] for j in healthy if j.truth["flaw"])
    parts = [f"{count} unfaulted runs whose held-out loss says “{flaw}”" for flaw, count in sorted(flaws.items())]
    hidden = [j for j in sick if not j.truth["visible"]]
    alarms = sum(j.diagnosis.alarm for j in hidden)
    parts.append(f"{len(hidden)} faulted runs that ended as well as their twins ({alarms} of them alarmed)")
    return ", ".join(parts)


def _logger(run: Judged) -> str:
    config = run.truth["config"]
    if config["log_every"] == 0:
        return "per epoch, mean" if config["log_mean"] else "per epoch, last batch"
    every = config["log_every"]
    return f"every {every} steps, mean" if config["log_mean"] else f"every {every} step{'s' * (every > 1)}"


def _false_alarms(good: Sequence[Judged]) -> list[str]:
    rows: list[list[object]] = []
    keys: dict[str, Callable[[Judged], str]] = {
        "kind": lambda j: j.truth["variant"] or "ordinary",
        "schedule": lambda j: str(j.truth["config"]["schedule"]),
        "logger": _logger,
        "task": lambda j: str(j.truth["task"]),
    }
    for word, key in keys.items():
        for name, group in sorted(_grouped(good, key).items()):
            codes = Counter(c for j in group if j.diagnosis.alarm for c in j.alarm_codes)
            told = ", ".join(f"{c} ×{n}" for c, n in codes.most_common())
            rows.append([word, name, share(sum(j.diagnosis.alarm for j in group), len(group)), told])
    codes = Counter(c for j in good if j.diagnosis.alarm for c in j.alarm_codes)
    told = ", ".join(f"{c} ×{n}" for c, n in codes.most_common())
    rows.append(["**all**", "", share(sum(j.diagnosis.alarm for j in good), len(good)), told])
    unsure = sum(j.diagnosis.status == "insufficient_data" for j in good)
    remarks = Counter(c for j in good for c in j.codes if c not in j.alarm_codes)
    said = ", ".join(f"{c} ×{n}" for c, n in remarks.most_common()) or "none"
    note = f"Called `insufficient_data`: {share(unsure, len(good))}. Remarks that raise no alarm: {said}."
    return [*table(["by", "", "alarms", "codes"], rows), "", note]


def _onsets(visible: Sequence[Judged]) -> list[str]:
    rows: list[list[object]] = []
    for name, group in _grouped((j for j in visible if j.truth["onset_step"] is not None), lambda j: j.fault).items():
        errors = [j.onset_error for j in group if j.onset_error is not None]
        if errors:
            near = sum(abs(e) <= 0.05 for e in errors)
            rows.append([name, len(group), len(errors), _percent(statistics.median(errors)), share(near, len(errors))])
    if not rows:
        return []
    head = ["fault", "runs", "onset given", "median error", "within 5 % of the run's length"]
    return ["### Onsets, where the true one is known", "", *table(head, sorted(rows, key=str)), ""]


def preamble(command: str) -> list[str]:
    """What was measured, by which command and with which versions."""
    packages = ", ".join(f"{name} {version(name)}" for name in ("lossdoctor", "numpy", "torch", "scikit-learn"))
    return [
        "# Detection quality",
        "",
        f"Generated by `{command}` (Python {platform.python_version()}, {packages}, clinic {VERSION}).",
        "",
        *wrapped(TRUTH),
        "",
        *wrapped(CAUSAL),
        "",
        *wrapped(CAUTION),
        "",
    ]


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.quality", description=__doc__)
    parser.add_argument("--part", choices=("all", "tuning", "ten", "small"), default="all", help="what to judge")
    parser.add_argument("--small", action="store_true", help="the same as --part ten")
    parser.add_argument("--output", type=Path, default=TARGET)
    parser.add_argument("--json", type=Path, help="also write one JSON line per judged run")
    parser.add_argument("--log", type=Path, default=frozen.LOG, help="where evaluations on the held-out half are noted")
    options = parser.parse_args(arguments)
    part = "ten" if options.small else options.part
    lines = preamble("python -m benchmarks.quality" + ("" if part == "all" else f" --part {part}"))
    lines += [*wrapped(TUNED_ON), ""] if part in ("tuning", "small") else []
    judged: list[Judged] = []
    if part in ("ten", "all"):
        pairs = ten_pairs()
        judged += [j for pair in pairs for j in pair]
        lines += first_table(pairs)
        if part == "ten":
            frozen.note("ten faults", _noted([scoring.Case(j) for j in judged]), options.log)
    tuning = small.cases() if part == "small" else _tuning() if part in ("all", "tuning") else []
    if tuning:
        trees = Trees(cases.examples(tuning))
        parts = {"The tuning half" if part != "small" else "A small clinic": tuning}
        if part == "all":  # what the forests were fitted on is no test of them, so only held-out parts are shown
            parts = {title: cases.of_part(first) for title, first in HELD_OUT_TITLES.items()}
        for title, found in parts.items():
            if not found:
                lines += [
                    f"## {title}",
                    "",
                    "Not measured yet: its remedies have not all been trained (`make clinic` does it).",
                    "",
                ]
                continue
            cases.ask_all(found, trees)
            if title in HELD_OUT_TITLES:
                frozen.note(title.lower(), _noted(found), options.log)
            judged += [c.run for c in found]
            lines += report.sections(title, found)
            healthy, sick = [c.run for c in found if c.healthy], [c.run for c in found if not c.healthy]
            lines += corpus_tables(f"{title}: by fault and by kind of run", healthy, sick)
    text = "\n".join(lines).rstrip() + "\n"
    print(text)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(text)
    if options.json:
        options.json.write_text("".join(json.dumps(_flat(j)) + "\n" for j in judged))
    return 0


def _tuning() -> list[scoring.Case]:
    return [case for first in dataset.PARTS for case in cases.of_part(first)]


def _noted(found: Sequence[scoring.Case]) -> dict[str, object]:
    """The counts of an evaluation for the log of the held-out half."""
    kept = report.counted(found)
    good, sick = [c for c in kept if c.healthy], [c for c in kept if not c.healthy]
    treatable = [c for c in sick if c.treatable and scoring.OURS in c.opinions]
    counts: dict[str, object] = {
        "healthy": len(good),
        "false_alarms": sum(c.run.diagnosis.alarm for c in good),
        "sick": len(sick),
        "detected": sum(c.run.diagnosis.alarm for c in sick),
    }
    if treatable:
        counts["treatable"] = len(treatable)
        counts["first_right"] = sum(scoring.first_right(c, scoring.OURS) for c in treatable)
        counts["one_of_three"] = sum(scoring.three_right(c, scoring.OURS) for c in treatable)
        counts["harmful"] = sum(scoring.harmful(c, scoring.OURS) for c in treatable)
    return counts


def _flat(run: Judged) -> dict[str, Any]:
    found = [f.as_dict() for f in run.diagnosis.findings]
    return {**run.truth, "status": run.diagnosis.status, "basis": run.diagnosis.basis, "findings": found}


if __name__ == "__main__":
    sys.exit(main())
