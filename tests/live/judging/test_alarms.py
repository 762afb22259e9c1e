"""Findings are told once, when they hold, updated when they get worse, and withdrawn when they are gone."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from hypothesis import given, settings
from hypothesis import strategies as st

from lossdoctor.core.curve import Curve
from lossdoctor.core.diagnosis import Diagnosis
from lossdoctor.core.finding import Action, Finding
from lossdoctor.core.history import TrainingHistory
from lossdoctor.core.vocabulary import severity_rank
from lossdoctor.live.judging.alarms import AT_THE_END, GONE, NOT_YET, Alarms
from lossdoctor.live.rows import Verdict
from lossdoctor.rules import all_rules

SPIKE = Finding("LD103", "loss-spike", "warning", 0.9, "loss", "a spike", actions=(Action("clip_gradients"),))
NAN = Finding("LD101", "loss-nonfinite", "critical", 0.9, "loss", "NaN", actions=(Action("restore_checkpoint"),))
SLOW = Finding("LD203", "slow-descent", "warning", 0.9, "loss", "slow", actions=(Action("increase_learning_rate"),))
EARLY = Finding("LD205", "stopped-too-early", "warning", 0.9, "loss", "stopped", actions=(Action("train_longer"),))


def diagnosis(points: int, *findings: Finding) -> Diagnosis:
    worst = max((severity_rank(f.severity) for f in findings), default=0)
    history = TrainingHistory({"loss": Curve.make(range(points), [1.0] * points)})
    return Diagnosis(("healthy", "warning", "critical")[worst], "", tuple(findings), history)


@dataclass
class Told:
    """What was told after so many points."""

    points: int
    kind: str
    code: str


def tell(alarms: Alarms, *verdicts: tuple[int, tuple[Finding, ...]], final: bool = False) -> list[Told]:
    found = []
    for points, findings in verdicts:
        verdict = alarms.judge(diagnosis(points, *findings), points, final=final)
        for kind in ("announced", "updated", "withdrawn"):
            found += [Told(points, kind, f.code) for f in getattr(verdict, kind)]
    return found


def test_a_warning_is_told_when_it_holds() -> None:
    assert tell(Alarms(), (100, (SPIKE,)), (105, (SPIKE,)), (108, (SPIKE,)), (200, (SPIKE,))) == [
        Told(108, "announced", "LD103")
    ]
    assert tell(Alarms(), (100, (SPIKE,)), (105, ()), (108, (SPIKE,)), (112, (SPIKE,))) == []
    assert tell(Alarms(), (1000, (SPIKE,)), (1049, (SPIKE,)), (1050, (SPIKE,))) == [Told(1050, "announced", "LD103")]


def test_a_critical_finding_is_told_at_once() -> None:
    assert tell(Alarms(), (10, (NAN,)), (20, (NAN,))) == [Told(10, "announced", "LD101")]


def test_that_a_run_does_not_get_on_is_told_when_it_has_lasted() -> None:
    looks = [(n, (SLOW,)) for n in range(40, 400, 8)]
    assert tell(Alarms(), *looks) == [Told(104, "announced", "LD203")]
    looks = [(n, (SLOW,)) for n in range(1000, 2000, 50)]
    assert tell(Alarms(), *looks) == [Told(1500, "announced", "LD203")]


def test_that_it_was_stopped_too_early_is_told_at_the_end() -> None:
    alarms = Alarms()
    assert tell(alarms, *((n, (EARLY,)) for n in range(40, 400, 8))) == []
    assert tell(alarms, (400, (EARLY,)), final=True) == [Told(400, "announced", "LD205")]


def test_the_last_verdict_is_told_as_it_is() -> None:
    alarms = Alarms()
    assert tell(alarms, (100, (SPIKE,)), (110, (SPIKE,))) == [Told(110, "announced", "LD103")]
    assert tell(alarms, (111, (SLOW,)), final=True) == [
        Told(111, "announced", "LD203"),
        Told(111, "withdrawn", "LD103"),
    ]
    assert [f.code for f in alarms.announced] == ["LD203"]


def test_remarks_are_not_told_unless_asked_for() -> None:
    remark = replace(SPIKE, severity="info")
    looks = [(n, (remark,)) for n in range(100, 400, 10)]
    assert tell(Alarms(), *looks) == []
    assert tell(Alarms(least="info"), *looks) == [Told(110, "announced", "LD103")]
    looks = [*((n, (SPIKE,)) for n in range(10, 99)), (100, (NAN,))]
    assert tell(Alarms(least="critical"), *looks) == [Told(100, "announced", "LD101")]


def test_a_finding_is_gone_when_it_stays_gone() -> None:
    alarms = Alarms()
    tell(alarms, (100, (SPIKE,)), (200, (SPIKE,)))
    assert tell(alarms, (210, ()), (220, ()), (230, ()), (241, ())) == []
    assert tell(alarms, (242, ())) == [Told(242, "withdrawn", "LD103")]
    assert alarms.announced == ()
    assert tell(alarms, (250, (SPIKE,)), (263, (SPIKE,))) == [Told(263, "announced", "LD103")]


def test_a_finding_that_comes_back_was_not_gone() -> None:
    alarms = Alarms()
    tell(alarms, (100, (SPIKE,)), (200, (SPIKE,)))
    for n in range(210, 1000, 30):
        assert tell(alarms, (n, ()), (n + 10, ()), (n + 20, (replace(SPIKE, severity="info"),))) == []


def test_a_finding_that_another_explains_is_not_gone() -> None:
    alarms = Alarms()
    tell(alarms, (100, (SPIKE,)), (200, (SPIKE,)))
    other = replace(NAN, explains=("LD103",))
    assert tell(alarms, *((n, (other,)) for n in range(210, 900, 10))) == [Told(210, "announced", "LD101")]
    assert [f.code for f in alarms.announced] == ["LD103", "LD101"]


def test_a_finding_is_known_by_its_metric_too() -> None:
    other = replace(SPIKE, metric="val_loss")
    assert tell(Alarms(), (100, (SPIKE, other)), (110, (other,))) == [Told(110, "announced", "LD103")]


def test_getting_worse_is_told_once() -> None:
    alarms = Alarms()
    tell(alarms, (100, (SPIKE,)), (200, (SPIKE,)))
    worse = replace(SPIKE, severity="critical")
    looks = [(n, (worse if n % 20 else SPIKE,)) for n in range(210, 400, 10)]
    assert tell(alarms, *looks) == [Told(210, "updated", "LD103")]


def test_another_advice_is_told_when_it_is_for_good() -> None:
    alarms = Alarms()
    tell(alarms, (100, (SPIKE,)), (200, (SPIKE,)))
    other = replace(SPIKE, actions=(Action("reduce_learning_rate"),))
    assert tell(alarms, (210, (other,)), (250, (SPIKE,)), (260, (other,)), (270, (other,)), (280, (other,))) == []
    assert tell(alarms, (286, (other,))) == [Told(286, "updated", "LD103")]
    assert tell(alarms, *((n, (other,)) for n in range(290, 900, 30))) == []


def test_the_worse_of_two_segments_counts() -> None:
    later = replace(SPIKE, severity="critical", segment=1)
    assert tell(Alarms(), (50, (SPIKE, later))) == [Told(50, "announced", "LD103")]


def test_the_codes_are_those_of_rules() -> None:
    assert {r.code for r in all_rules()} >= NOT_YET | AT_THE_END


# whatever the verdicts are

_findings = st.builds(
    lambda code, metric, severity, action, explains: Finding(
        code, code, severity, 0.5, metric, "", actions=(Action(action),), explains=explains
    ),
    st.sampled_from(["LD101", "LD103", "LD203", "LD205", "LD301"]),
    st.sampled_from(["loss", "val_loss"]),
    st.sampled_from(["info", "warning", "critical"]),
    st.sampled_from(["stop_early", "clip_gradients", "none"]),
    st.sampled_from([(), (), ("LD103",)]),
)
_runs = st.lists(st.tuples(st.integers(0, 40), st.lists(_findings, max_size=4)), max_size=60)


def replay(run: list[tuple[int, list[Finding]]], least: str) -> tuple[Alarms, list[tuple[int, Verdict]]]:
    alarms, points, out = Alarms(least), 8, []
    for more, findings in run:
        points += more
        out.append((points, alarms.judge(diagnosis(points, *findings), points)))
    return alarms, out


@settings(max_examples=150, deadline=None)
@given(_runs, st.sampled_from(["info", "warning", "critical"]))
def test_announcements_and_withdrawals_alternate(run: list[tuple[int, list[Finding]]], least: str) -> None:
    alarms, verdicts = replay(run, least)
    standing: set[tuple[str, str]] = set()
    for _, verdict in verdicts:
        for finding in verdict.announced:
            assert severity_rank(finding.severity) >= severity_rank(least)
            assert (finding.code, finding.metric) not in standing
            standing.add((finding.code, finding.metric))
        for finding in verdict.updated:
            assert (finding.code, finding.metric) in standing
        for finding in verdict.withdrawn:
            standing.remove((finding.code, finding.metric))
        found = {(f.code, f.metric) for f in verdict.diagnosis.findings}
        assert not {(f.code, f.metric) for f in verdict.withdrawn} & found
        assert {(f.code, f.metric) for f in (*verdict.announced, *verdict.updated)} <= found
    assert {(f.code, f.metric) for f in alarms.announced} == standing


@settings(max_examples=60, deadline=None)
@given(st.lists(st.booleans(), min_size=10, max_size=1500), st.booleans(), st.integers(1, 30))
def test_changes_are_bounded_by_the_logarithm_of_the_length(said: list[bool], critical: bool, apart: int) -> None:
    """Any pattern of coming and going, a verdict after every so many points."""
    finding = replace(SPIKE, severity="critical") if critical else SPIKE
    alarms, changes, points = Alarms(), 0, 8
    for there in said:
        points += apart
        history = _Points(points)
        verdict = alarms.judge(Diagnosis("", "", (finding,) if there else (), history), points)  # type: ignore[arg-type]
        changes += len(verdict.announced) + len(verdict.withdrawn) + len(verdict.updated)
    # between two withdrawals the run grows by at least GONE.growth and by GONE.points
    assert changes <= 2 + 2 * math.log(points / 8) / math.log1p(GONE.growth)
    assert changes <= 2 + 2 * points / GONE.points


@dataclass
class _Points:
    """Enough of a history."""

    points: int
