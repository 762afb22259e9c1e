"""Fit what lossdoctor learned of runs: ``python -m benchmarks.advice.fit`` writes ``engine/experience.json``.

It reads the tuning half of the clinic from the cache (``python -m benchmarks.clinic`` fills it) and the vital signs of
real public logs (:mod:`benchmarks.advice.real`). Threshold and confidences are set on answers about tasks that the
forests had not seen, one task left out after the other; what these answers are worth is printed.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.advice import dataset, forests, real, unseen
from benchmarks.advice.dataset import Row
from benchmarks.clinic.config import VERSION
from lossdoctor.core.vocabulary import severity_rank
from lossdoctor.engine import experience
from lossdoctor.engine.inputs import CODES

TARGET = Path(experience.__file__).with_name(experience.FILE)
FALSE_ALARMS = 0.02  # share of the healthy runs, of the clinic and real ones alike, on which rules or forest may alarm
LEAST_TOLD = 12  # findings of a code from which its confidence is calibrated by itself
PRIOR = 4.0  # strength with which a code's calibration is drawn to that of all codes


def is_alarm(row: Row) -> bool:
    """Whether the rules alone raise an alarm."""
    if row.findings:
        return any(severity_rank(f.severity) >= 1 for f in row.findings)
    return any(row.inputs.get(code, 0.0) >= 2.0 for code in CODES)


def alarm_threshold(answers: unseen.Unseen) -> float:
    """The lowest chance of being ill from which the healthy runs are alarmed no more often than allowed.

    Clinic and real logs are held to it apart, as either may be the easier one.
    """
    limits = []
    for real_ones in (False, True):
        healthy = [
            (ill, is_alarm(row))
            for row, ill in zip(answers.rows, answers.ill, strict=True)
            if row.healthy and (row.variant == real.VARIANT) == real_ones
        ]
        told = sum(alarm for _, alarm in healthy)
        allowed = max(0, int(FALSE_ALARMS * len(healthy)) - told)
        quiet = sorted((ill for ill, alarm in healthy if not alarm), reverse=True)
        limits.append(quiet[allowed] if allowed < len(quiet) else 0.5)
    return round(math.ceil(1000.0 * max(*limits, 0.5)) / 1000.0 + 0.001, 3)


def confidences(rows: Sequence[Row]) -> dict[str, tuple[float, float]]:
    """For each code the slope and offset on the logit of its rule's confidence (Platt 1999), drawn to those of all."""
    told = [
        (f.code, min(max(f.confidence, 0.005), 0.995), f.code in row.expected)
        for row in rows
        if row.variant != real.VARIANT
        for f in row.findings
        if severity_rank(f.severity) >= 1
    ]
    overall = _platt([(c, t) for _, c, t in told], (1.0, 0.0), 0.1)
    counts = Counter(code for code, _, _ in told)
    return {
        code: _platt([(c, t) for k, c, t in told if k == code], overall, PRIOR)
        for code in sorted(counts)
        if counts[code] >= LEAST_TOLD
    }


def _platt(told: Sequence[tuple[float, bool]], start: tuple[float, float], prior: float) -> tuple[float, float]:
    """Newton's steps for a penalised logistic regression on the logit."""
    x = np.array([math.log(c / (1.0 - c)) for c, _ in told])
    y = np.array([float(t) for _, t in told])
    centre = np.array(start)
    w = centre.copy()
    design = np.stack([x, np.ones_like(x)], axis=1)
    for _ in range(50):
        p = 1.0 / (1.0 + np.exp(-design @ w))
        gradient = design.T @ (p - y) + prior * (w - centre)
        hessian = (design * (p * (1.0 - p))[:, None]).T @ design + prior * np.eye(2)
        w = w - np.linalg.solve(hessian, gradient)
    return round(float(max(w[0], 0.0)), 4), round(float(w[1]), 4)  # a surer rule is never less sure


def fitted(rows: Sequence[Row], answers: unseen.Unseen) -> dict[str, Any]:
    """Everything that goes into the file."""
    causes = forests.causes_of(rows)
    clinic = [r for r in rows if r.variant != real.VARIANT]
    return {
        "format": 1,
        "fitted": {
            "by": "python -m benchmarks.advice.fit",
            "clinic": VERSION,
            "parts": list(dataset.PARTS),
            "tasks": sorted({r.task for r in clinic}),
            "healthy_runs": len({r.key for r in clinic if r.healthy}),
            "sick_runs": len({r.key for r in clinic if r.sick}),
            "treated_runs": len({r.key for r in clinic if r.treatable is not None}),
            "real_logs": len({r.key for r in rows if r.variant == real.VARIANT}),
        },
        "alarm": alarm_threshold(answers),
        "confidence": confidences(rows),
        "ill": forests.written(forests.fit_detector(rows), ["ill"], inner=True),
        "causes": forests.written(forests.fit_causes(rows, causes), causes),
        "outcomes": forests.written(forests.fit_adviser(rows), forests.OUTCOMES, forests.SIGNS),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.advice.fit", description=__doc__)
    parser.add_argument("--output", type=Path, default=TARGET)
    options = parser.parse_args(arguments)
    rows = [*dataset.rows(dataset.PARTS), *real.rows()]
    answers = unseen.answers(rows)
    data = fitted(rows, answers)
    options.output.write_text(json.dumps(data, separators=(",", ":")) + "\n")
    print("\n".join(unseen.report(answers, data["alarm"])))
    print(f"{options.output}: {options.output.stat().st_size // 1024} KiB", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
