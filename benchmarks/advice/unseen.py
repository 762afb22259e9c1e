"""How the forests do on tasks that they were not fitted on: one task left out after the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.advice import forests, real
from benchmarks.advice.dataset import VARIANTS, Row
from lossdoctor.engine.experience import HARM


@dataclass
class Unseen:
    """Answers about each row by forests fitted on the other tasks, NaN where there were none to fit on.

    Attributes:
        ill: float64[rows], the chance of being sick.
        outcomes: float64[rows, 2 · actions], as :func:`forests.outcomes`.
        causes: float64[rows, causes].
    """

    rows: Sequence[Row]
    ill: forests.Matrix
    outcomes: forests.Matrix
    causes: forests.Matrix
    cause_names: tuple[str, ...]


def answers(rows: Sequence[Row]) -> Unseen:
    """Fit once per task without it, and ask about it."""
    causes = forests.causes_of(rows)
    x, signs = forests.inputs_matrix(rows), forests.inputs_matrix(rows, forests.SIGNS)
    out = Unseen(
        rows,
        np.full(len(rows), np.nan),
        np.full((len(rows), len(forests.OUTCOMES)), np.nan),
        np.full((len(rows), len(causes)), np.nan),
        causes,
    )
    tasks = np.array([r.task for r in rows])
    for task in sorted(set(tasks)):
        others = [r for r in rows if r.task != task]
        here = tasks == task
        out.ill[here] = forests.fit_detector(others).predict(x[here])
        out.outcomes[here] = forests.fit_adviser(others).predict(signs[here])
        out.causes[here] = forests.fit_causes(others, causes).predict(x[here])
    return out


def report(answers: Unseen, alarm: float) -> list[str]:
    """What the answers about unseen tasks are worth, by how the runs were logged."""
    lines = [f"a remark becomes a warning from a chance of {alarm:.3f} of being ill"]
    for variant in (*VARIANTS, real.VARIANT):
        at = [i for i, r in enumerate(answers.rows) if r.variant == variant]
        good = [answers.ill[i] for i in at if answers.rows[i].healthy]
        ill = [answers.ill[i] for i in at if forests.is_ill(answers.rows[i])]
        line = f"{variant}: above it {_share(ill, alarm)} of the sick and {_share(good, alarm)} of the healthy"
        treated = [i for i in at if answers.rows[i].treatable]
        if treated:
            first, three, harm = (float(v) for v in np.mean([_advice(answers, i) for i in treated], axis=0))
            line += f"; of {len(treated)} treatable: first advice right {first:.0%}, one of three {three:.0%}"
            line += f", harm {harm:.0%}"
        told = [i for i in at if answers.rows[i].causes and answers.rows[i].sick]
        if told:
            names = [answers.cause_names[int(np.argmax(answers.causes[i]))] for i in told]
            right = np.mean([name in answers.rows[i].causes for i, name in zip(told, names, strict=True)])
            line += f"; cause named {right:.0%}"
        lines.append(line)
    return lines


def _share(chances: Sequence[float], limit: float) -> str:
    return f"{np.mean(np.array(chances) >= limit):.1%} of {len(chances)}" if chances else "none"


def _advice(answers: Unseen, i: int) -> tuple[bool, bool, bool]:
    count = len(forests.ADVICE)
    order = np.argsort(-(answers.outcomes[i, :count] - HARM * answers.outcomes[i, count:]), kind="stable")
    best = [forests.ADVICE[k] for k in order[:3]]
    row = answers.rows[i]
    right, harmful = row.right or frozenset(), row.harmful or frozenset()
    return best[0] in right, bool(right.intersection(best)), best[0] in harmful
