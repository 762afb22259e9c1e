"""The report on cases: side by side with the peers, ROC, findings, confidences, abstentions, shortfalls."""

from __future__ import annotations

import statistics
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from functools import partial
from itertools import pairwise

from benchmarks.clinic import faults
from benchmarks.clinic.cases import TREES
from benchmarks.clinic.judged import share
from benchmarks.clinic.live import LOOKS, delay
from benchmarks.clinic.scoring import (
    BLIND,
    OURS,
    Case,
    Scores,
    cause_named,
    clustered,
    first_right,
    roc,
    scores,
    three_right,
)
from benchmarks.peers import PEERS
from lossdoctor.core.vocabulary import severity_rank

# The bars: name of the score, its limit, whether more is better, in words.
BARS = (
    ("detected", 0.80, True, "alarms on treatable runs"),
    ("detected_showing", 0.92, True, "alarms on treatable runs whose fault shows"),
    ("false_alarms", 0.03, False, "alarms on healthy runs"),
    ("first", 0.90, True, "first advice right"),
    ("three", 0.97, True, "one of three pieces of advice right"),
    ("harm", 0.02, False, "first advice harmful"),
)
LEAST_TASKS = 5  # treatable runs of fewer tasks say little
ROC_AT = (0.0, 0.01, 0.03, 0.05, 0.10, 0.20)
BINS = (0.0, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1.01)
# The finding made for an outcome or a fault: of these runs a code's recall is taken.
MADE_FOR_OUTCOME = {"nonfinite": "LD101", "diverged": "LD102", "overfitted": "LD301"}
MADE_FOR_FAULT = {
    "lr_oscillating": "LD104",
    "lr_low": "LD203",
    "stopped_early": "LD205",
    "underfitting": "LD302",
    "spikes_recovering": "LD103",
    "spike_unrecovered": "LD103",
    "missing_step": "LD201",
    "frozen_parameters": "LD201",
}


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    """A Markdown table."""
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return [*lines, *("| " + " | ".join(str(cell) for cell in row) + " |" for row in rows)]


def counted(cases: Sequence[Case]) -> list[Case]:
    """Verified healthy runs, and sick ones that are treatable or visibly harmed."""
    return [c for c in cases if (c.run.truth["verified"] if c.healthy else c.treatable or c.run.truth["visible"])]


def sections(title: str, cases: Sequence[Case]) -> list[str]:
    """Everything about one part of the corpus."""
    kept = counted(cases)
    good, ill = [c for c in kept if c.healthy], [c for c in kept if c.treatable]
    awaiting = sum(not c.healthy and c.outcomes is None for c in cases)
    if not good or not ill:
        return [
            f"## {title}: side by side",
            "",
            f"Not measured yet: the remedies of {awaiting} sick runs have not been trained (`make clinic` does it).",
            "",
        ]
    lines = [
        f"## {title}: side by side",
        "",
        f"{len(good)} healthy runs; {len(ill)} treatable runs of {len({c.task for c in ill})} tasks, "
        f"{sum(c.shows for c in ill)} of them with a fault that shows in a log.",
    ]
    if len({c.task for c in ill}) < LEAST_TASKS:
        lines += ["**Too few tasks to conclude anything about advice: the clinic has not been trained to its end.**"]
    if awaiting:
        lines += [f"Left out: {awaiting} sick runs whose remedies have not all been trained yet."]
    return [
        *lines,
        "",
        *_side_by_side(kept),
        *_short_of_bars(scores(kept, OURS)),
        *_roc(good, ill),
        *_signals(kept),
        *_by_fault(ill),
        *_findings(kept),
        *_calibration(kept),
        *_onset(kept),
        *_abstentions(kept),
    ]


def _names(cases: Sequence[Case]) -> list[str]:
    return [n for n in (OURS, BLIND, *PEERS, TREES) if any(n in c.opinions for c in cases)]


def _side_by_side(cases: Sequence[Case]) -> list[str]:
    head = ["", "detection", "… that show", "false alarms", "AUC", "first advice right", "… that show"]
    head += ["one of three right", "harm", "first is a check: right, all"]
    rows: list[list[object]] = []
    for name in _names(cases):
        s = scores(cases, name)
        row = [name, s.detected, s.detected_showing, s.false_alarms, f"{s.auc:.2f}", s.first, s.first_showing]
        rows.append([*row, s.three, s.harm, f"{s.checks[0]} of {s.checks[1]}"])
    return [*table(head, rows), ""]


def _short_of_bars(ours: Scores) -> list[str]:
    """Which bars are missed, in words."""
    lines = ["### Against the bars", ""]
    for name, limit, more, words in BARS:
        got = getattr(ours, name)
        met = got.value >= limit if more else got.value <= limit
        wanted = f"{'at least' if more else 'at most'} {100 * limit:.0f} %"
        lines.append(f"- {words}: {got}, wanted {wanted}: {'met' if met else '**missed**'}.")
    return [*lines, ""]


def _roc(good: Sequence[Case], ill: Sequence[Case]) -> list[str]:
    rows: list[list[object]] = []
    for name in (OURS, TREES):
        if not all(name in c.opinions for c in (*good, *ill)):
            continue
        healthy, sick = [c.opinions[name].score for c in good], [c.opinions[name].score for c in ill]
        rows.append([name, *(f"{100 * v:.0f} %" for v in roc(healthy, sick, ROC_AT).values())])
    head = ["detection at false alarms of", *(f"{100 * a:.0f} %" for a in ROC_AT)]
    return ["### Where the threshold could lie", "", *table(head, rows), ""]


def _signals(cases: Sequence[Case]) -> list[str]:
    """The same runs told from the losses alone and from all signals: what gradient norm and rate are worth."""
    full = [c for c in cases if c.all_signals and not c.healthy and c.blind is not None]
    treated = [c for c in full if c.treatable]
    if not full:
        return []
    rows: list[list[object]] = []
    for word, name in (("from the two losses alone", BLIND), ("from all signals", OURS)):
        first = clustered(full, partial(_cause_named, name=name, most=1))
        three = clustered(full, partial(_cause_named, name=name, most=3))
        advice = clustered(treated, partial(first_right, name=name))
        rows.append([word, first, three, advice, clustered(treated, partial(three_right, name=name))])
    head = ["", "cause named first", "among the first three", "first advice right", "one of three right"]
    note = f"{len(full)} sick runs that log gradient norm and learning rate, {len(treated)} of them treatable."
    return ["### What signals are worth", "", note, "", *table(head, rows), ""]


def _cause_named(case: Case, name: str, most: int) -> bool:
    return cause_named(case, case.blind if name == BLIND else case.run.diagnosis, most)


def _by_fault(ill: Sequence[Case]) -> list[str]:
    groups: dict[str, list[Case]] = defaultdict(list)
    for case in ill:
        groups[case.run.fault].append(case)
    rows: list[list[object]] = []
    for name in faults.names():
        group = groups.get(name, [])
        if not group:
            continue
        helps = Counter(a for c in group if c.outcomes for a in c.outcomes.rightful).most_common(4)
        said = Counter((c.opinions[OURS].advice or ("nothing",))[0] for c in group).most_common(2)
        rows.append(
            [
                name,
                share(sum(c.opinions[OURS].alarm for c in group), len(group)),
                share(sum(first_right(c, OURS) for c in group), len(group)),
                ", ".join(f"{a} ×{n}" for a, n in said),
                ", ".join(f"{a} ×{n}" for a, n in helps),
            ]
        )
    head = ["fault", "alarm", "first advice right", "advised first", "what helps"]
    return ["### What helps, and what is advised", "", *table(head, rows), ""]


def _made_for(case: Case) -> str | None:
    fault = faults.get(case.run.fault)
    by_outcome = MADE_FOR_OUTCOME.get(str(case.run.truth.get("outcome")))
    return by_outcome or fault.own_code or MADE_FOR_FAULT.get(fault.name)


def _findings(cases: Sequence[Case]) -> list[str]:
    """Precision of a code among its alarms, and its recall on the runs that it is made for."""
    alarms: Counter[str] = Counter()
    right: Counter[str] = Counter()
    remarks: Counter[str] = Counter()
    due: Counter[str] = Counter()
    seen: Counter[str] = Counter()
    for case in cases:
        loud = set(case.run.alarm_codes)
        told = set(case.run.codes) | {c for f in case.run.diagnosis.findings for c in f.explains}
        alarms.update(loud)
        remarks.update(set(case.run.codes) - loud)
        right.update(loud & set(case.run.truth.get("expected", ())))
        code = None if case.healthy else _made_for(case)
        if code:
            due[code] += 1
            seen[code] += code in told
    rows = [
        [c, alarms[c], share(right[c], alarms[c]), remarks[c], share(seen[c], due[c])]
        for c in sorted({*alarms, *remarks, *due})
    ]
    head = ["code", "alarms", "of them right", "remarks", "found on the runs that it is made for"]
    return ["### By finding", "", *table(head, rows), ""]


def _calibration(cases: Sequence[Case]) -> list[str]:
    """How often a warning or critical of a confidence is true of the run."""
    told = [
        (f.confidence, f.code in c.run.truth.get("expected", ()))
        for c in cases
        for f in c.run.diagnosis.findings
        if severity_rank(f.severity) >= 1
    ]
    rows: list[list[object]] = []
    error = 0.0
    for low, high in pairwise(BINS):
        inside = [(conf, true) for conf, true in told if low <= conf < high]
        if inside:
            mean, true = statistics.mean(c for c, _ in inside), sum(t for _, t in inside)
            error += abs(mean - true / len(inside)) * len(inside) / len(told)
            rows.append([f"{low:.2f}–{min(high, 1.0):.2f}", len(inside), f"{mean:.2f}", share(true, len(inside))])
    head = ["confidence", "warnings and criticals", "mean confidence", "true of the run"]
    note = f"Expected calibration error: {error:.2f} over {len(told)} findings."
    return ["### Are the confidences probabilities?", "", *table(head, rows), "", note, ""]


def _onset(cases: Sequence[Case]) -> list[str]:
    known = [c.run for c in cases if c.run.truth.get("onset_step") is not None]
    errors = [r.onset_error for r in known if r.onset_error is not None]
    if not errors:
        return []
    near = sum(abs(e) <= 0.05 for e in errors)
    delays = [d for d in (delay(r) for r in known) if d is not None]
    prompt = statistics.median(delays) if delays else 0.0
    middle = statistics.median(abs(e) for e in errors)
    return [
        "### Onset and delay",
        "",
        f"Of {len(known)} runs whose true onset is known, {len(errors)} are given one by a right finding: the median "
        f"error is {100 * middle:.1f} % of the run, {share(near, len(errors))} lie within 5 %.",
        f"Looked at {LOOKS} times while they ran, the right finding was told {100 * prompt:.1f} % of the run after the "
        f"onset (median; {share(sum(d <= 0.05 for d in delays), len(delays))} within 5 %).",
        "",
    ]


def _abstentions(cases: Sequence[Case]) -> list[str]:
    codes: Counter[tuple[str, str]] = Counter()
    for case in cases:
        codes.update({(a.code, a.needs) for a in case.run.diagnosis.abstained})
    unsure = sum(c.run.diagnosis.status == "insufficient_data" for c in cases)
    rows = [[code, needs, share(n, len(cases))] for (code, needs), n in sorted(codes.items())]
    note = f"Called `insufficient_data`: {share(unsure, len(cases))}."
    return ["### Abstentions", "", *table(["code", "for want of", "runs"], rows), "", note, ""]
