"""From findings to an outcome, a sentence or three, and what they say for and against causes."""

from __future__ import annotations

import numpy as np

from lossdoctor.core.finding import Measurement
from lossdoctor.core.numbers import percent
from lossdoctor.probes.data.baseline import Baseline
from lossdoctor.probes.data.case import Case
from lossdoctor.probes.data.finding import DataFinding


def outcome_of(findings: list[DataFinding]) -> str:
    """``failed`` on a warning or worse, ``noted`` on something worth knowing."""
    if any(f.rank for f in findings):
        return "failed"
    return "noted" if findings else "passed"


def worded(case: Case, findings: list[DataFinding]) -> str:
    """The worst finding, how many others, and the next step."""
    table = case.train
    size = f"{table.examples:,} examples" + (f" of {table.features:,} inputs" if table.features else "")
    if not findings:
        unchecked = "" if table.target is not None else "; they had no target, whose checks were left out"
        return f"Nothing is wrong with {size} by any of the checks{unchecked}."
    worst = findings[0]
    serious = [f for f in findings if f.rank]
    first = worst.summary[0].upper() + worst.summary[1:]
    if not serious:
        others = f" {len(findings) - 1:,} more notes are below." if len(findings) > 1 else ""
        return f"Nothing is clearly wrong with {size}. Worth knowing: {worst.summary}.{others}"
    others = f" {len(serious) - 1:,} more of that weight below." if len(serious) > 1 else ""
    step = f" {worst.remedy.what}" if worst.remedy is not None else ""
    return f"{first}.{step}{others}"


def causes_of(case: Case, findings: list[DataFinding], base: Baseline | None) -> dict[str, float]:
    """Likelihood ratios: the strongest that any finding gives, and below 1 where a check found nothing."""
    against = _against(case, findings, base)
    causes: dict[str, float] = {}
    for finding in findings:
        for cause, ratio in finding.causes.items():
            causes[cause] = max(causes.get(cause, 0.0), ratio)
    return {**against, **causes}


def _against(case: Case, findings: list[DataFinding], base: Baseline | None) -> dict[str, float]:
    checks = {f.check for f in findings}
    serious = {f.check for f in findings if f.rank}
    table = case.train
    out: dict[str, float] = {}
    if not serious & {"missing", "infinite", "sentinel", "constant", "blank-rows", "labels", "pixels"}:
        out["bad-data"] = 0.3
        whole = table.total is not None and table.examples >= table.total
        out["bad-batch"] = 0.3 if whole else 0.6
    if table.numeric and not checks & {"scale", "pixels", "target-scale"}:
        out["inputs-unscaled"] = 0.1
    if table.numeric and not checks & {"outliers", "target-tails"}:
        out["outliers"] = 0.3
    judged = table.target is not None and table.target.kind in ("classes", "numbers") and table.examples >= 20
    if table.loader and judged and "order" not in checks:
        out["data-unshuffled"] = 0.05
    if case.val is not None and not checks & {"leak", "target-leak"}:
        out["data-leak"] = 0.4
    if base is not None and base.linear and base.z >= 5:
        out["labels-uninformative"] = 0.1
    return out


def measured(case: Case, findings: list[DataFinding]) -> tuple[Measurement, ...]:
    """Numbers for rules."""
    table = case.train
    bad = np.zeros(table.examples, dtype=bool)
    for part in table.numeric:
        bad |= ~np.isfinite(part.flat()).all(axis=1)
    out = [Measurement("nonfinite_row_share", float(bad.mean()), "share", None, {"told": percent(float(bad.mean()))})]
    if case.stability is not None:
        stable = case.stability
        detail = {"standardized": stable.standardized, "largest_eigenvalue": stable.largest}
        out.append(Measurement("input_critical_rate", stable.squared_error, "learning rate", None, detail))
    leak = next((f for f in findings if f.check == "leak"), None)
    if case.val is not None:
        out.append(Measurement("split_overlap", 0.0 if leak is None else leak.value, "share"))
    return tuple(out)
