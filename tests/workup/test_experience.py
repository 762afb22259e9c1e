"""From counts and a result's own ratios to likelihoods: one formula, between the two."""

from __future__ import annotations

import pytest

from lossdoctor.core.vocabulary import CAUSES
from lossdoctor.probes.result import ProbeResult
from lossdoctor.workup.experience import STRENGTH, Experience, Record, experience, from_json, said
from lossdoctor.workup.menu import MENU


def result(outcome: str = "failed", **causes: float) -> ProbeResult:
    return ProbeResult(outcome=outcome, verdict="", causes={n.replace("_", "-"): q for n, q in causes.items()})


def of(
    said: dict[str, dict[str, float]], ratios: dict[str, dict[str, float]] | None = None, trust: float = 0.6
) -> Experience:
    return Experience({"check_data": Record(said, ratios or {}, 5, trust)})


def test_without_a_record_the_results_own_ratios_stand() -> None:
    likelihoods = Experience().likelihoods("check_data", result(outliers=8.0, label_noise=0.5))
    assert likelihoods["outliers"] == 8.0
    assert likelihoods["label-noise"] == 0.5
    assert likelihoods["data-leak"] == 1.0
    assert set(likelihoods) == set(CAUSES)


def test_counts_and_ratios_are_weighed() -> None:
    told = result(outliers=8.0)
    word = said(told)
    ratios = {word: {"outliers": 8.0}}
    known = of({word: {"outliers": 9.0, "normal": 1.0}, "passed": {"outliers": 1.0, "normal": 29.0}}, ratios, trust=1.0)
    base = (1.0 + 0.5) / (30.0 + 1.0)  # said of one of the 30 runs of another cause
    likelihoods = known.likelihoods("check_data", told)
    assert likelihoods["outliers"] == pytest.approx((9.0 / base + STRENGTH * 8.0) / (10.0 + STRENGTH))
    assert likelihoods["normal"] == pytest.approx((1.0 / base + STRENGTH) / (30.0 + STRENGTH))
    assert likelihoods["data-leak"] == pytest.approx(1.0)  # never seen: as the test itself has it


def test_a_test_that_repeats_others_is_trusted_less() -> None:
    told = result(outliers=8.0)
    counts = {said(told): {"outliers": 9.0}, "passed": {"normal": 30.0}}
    full, half = (of(counts, trust=t).likelihoods("check_data", told) for t in (1.0, 0.5))
    assert half == pytest.approx({c: q**0.5 for c, q in full.items()})


def test_many_runs_overrule_the_ratio() -> None:
    """A test that claims to speak for outliers, but says so of every run, tells nothing."""
    told = result(outliers=20.0)
    known = of({said(told): {"outliers": 500.0, "normal": 500.0}})
    likelihoods = known.likelihoods("check_data", told)
    assert likelihoods["outliers"] / likelihoods["normal"] == pytest.approx(1.0, abs=0.2)


def test_what_was_never_said_before_is_taken_at_its_word() -> None:
    known = of({"passed": {"normal": 50.0}})
    assert known.likelihoods("check_data", result(data_leak=30.0))["data-leak"] == pytest.approx(30.0**0.6)


@pytest.mark.parametrize("known", [Experience(), of({"passed": {"normal": 30.0, "outliers": 2.0}}), experience()])
def test_tables_are_probabilities(known: Experience) -> None:
    for test in MENU:
        table = known.table(test.name, test.made_for)
        for cause in CAUSES:
            assert sum(row[cause] for row in table.values()) == pytest.approx(1.0)
            assert all(0.0 <= row[cause] <= 1.0 for row in table.values())


def test_a_test_without_record_is_expected_to_find_what_it_is_made_for() -> None:
    table = Experience().table("check_data", {"outliers": 0.7, "bad-data": 0.6})
    assert table["outliers"]["outliers"] == 0.7
    assert table["bad-data"]["bad-data"] == 0.6
    assert table["passed"]["normal"] == pytest.approx(0.95)


def test_a_record_is_read_back() -> None:
    data = {
        "about": "",
        "fitted": {"runs": 3},
        "strength": 2.0,
        "tests": {
            "check_data": {"said": {"passed": {"normal": 3.0}}, "ratios": {"passed": {}}, "steps": 7, "trust": 0.9}
        },
    }
    known = from_json(data)
    assert known.strength == 2.0
    assert known.records["check_data"].steps == 7
    assert known.records["check_data"].trust == 0.9
    assert known.records["check_data"].base("passed") == 3.5 / 4.0
    assert known.records["check_data"].base("failed") == 0.0


def test_the_shipped_record_speaks_the_vocabulary() -> None:
    known = experience()
    assert known.fitted["runs"] > 250
    assert set(known.records) <= {t.name for t in MENU}
    for record in known.records.values():
        assert {c for row in record.said.values() for c in row} <= set(CAUSES)
        assert {c for row in record.ratios.values() for c in row} <= set(CAUSES)
        assert record.steps >= 1
