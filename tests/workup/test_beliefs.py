"""Priors, Bayes' rule and the information that a test is expected to give."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lossdoctor.core.diagnosis import Diagnosis
from lossdoctor.core.finding import Cause, Finding
from lossdoctor.core.history import TrainingHistory
from lossdoctor.core.vocabulary import CAUSES
from lossdoctor.workup.beliefs import (
    DOUBT,
    ELSEWHERE,
    HEALTHY,
    LATER,
    RARELY_NORMAL,
    information,
    prior,
    ranked,
    stands_out,
    uncertainty,
    updated,
)


def diagnosis(*findings: Finding, status: str = "warning") -> Diagnosis:
    return Diagnosis(status, "", findings, TrainingHistory())


def finding(severity: str = "warning", confidence: float = 1.0, **causes: float) -> Finding:
    told = tuple(Cause(name.replace("_", "-"), share) for name, share in causes.items())
    return Finding("LD104", "oscillation", severity, confidence, "loss", "", causes=told)


def test_the_findings_share_out_the_prior() -> None:
    one = prior(diagnosis(finding(learning_rate_too_high=0.75, outliers=0.25)))
    rest = ELSEWHERE * (1 - RARELY_NORMAL) / (len(CAUSES) - 1)
    total = 1 - (1 - DOUBT) * ELSEWHERE * RARELY_NORMAL  # what is taken from "normal"
    assert one["learning-rate-too-high"] == pytest.approx((0.75 * (1 - ELSEWHERE) + rest) / total)
    assert one["outliers"] == pytest.approx((0.25 * (1 - ELSEWHERE) + rest) / total)
    assert one["data-leak"] == pytest.approx(rest / total)
    assert set(one) == set(CAUSES)
    assert sum(one.values()) == pytest.approx(1.0)


def test_later_findings_count_less() -> None:
    two = prior(diagnosis(finding(outliers=1.0), finding(label_noise=1.0)))
    free = two["data-leak"]
    assert (two["label-noise"] - free) / (two["outliers"] - free) == pytest.approx(LATER)


def test_a_healthy_run_is_probably_normal() -> None:
    nothing = prior(diagnosis(status="healthy"))
    assert nothing["normal"] == pytest.approx(HEALTHY * DOUBT / (1 - HEALTHY * (1 - DOUBT)))
    assert nothing["normal"] == max(nothing.values())
    with_remark = prior(diagnosis(finding("info", normal=0.7, budget_too_short=0.3), status="healthy"))
    assert with_remark["normal"] > with_remark["budget-too-short"] > with_remark["outliers"]


def test_bayes_rule() -> None:
    shares = updated({"a": 0.5, "b": 0.3, "c": 0.2}, {"a": 2.0, "b": 0.5})
    assert shares == pytest.approx({"a": 1.0 / 1.35, "b": 0.15 / 1.35, "c": 0.2 / 1.35})


def test_no_cause_is_ruled_out_for_good() -> None:
    shares = updated({"a": 1.0, "b": 0.0}, {"a": 1e-12})
    assert shares["b"] > 0.1


@pytest.mark.parametrize(
    ("shares", "out"),
    [
        ({"a": 0.85, "b": 0.1, "c": 0.05}, True),
        ({"a": 0.79, "b": 0.21, "c": 0.0}, False),
        ({"a": 0.6, "b": 0.4, "c": 0.0}, False),
    ],
)
def test_standing_out(shares: dict[str, float], out: bool) -> None:
    assert stands_out(shares, 0.8, 3.0) is out


def test_one_cause_has_to_be_far_ahead() -> None:
    assert stands_out({"a": 0.7, "b": 0.2, "c": 0.1}, 0.6, 3.0)
    assert not stands_out({"a": 0.7, "b": 0.3, "c": 0.0}, 0.6, 3.0)


@given(
    st.lists(st.floats(0.01, 1.0), min_size=4, max_size=4),
    st.lists(st.floats(0.01, 1.0), min_size=12, max_size=12),
)
def test_information_is_the_expected_loss_of_uncertainty(weights: list[float], cells: list[float]) -> None:
    """Against the definition: entropy before minus expected entropy after, by going through all answers."""
    names = "abcd"
    shares = dict(zip(names, np.array(weights) / sum(weights), strict=True))
    matrix = np.array(cells).reshape(3, 4)
    matrix /= matrix.sum(axis=0)
    table = {f"says {i}": dict(zip(names, row, strict=True)) for i, row in enumerate(matrix)}
    expected = uncertainty(shares)
    for row in table.values():
        overall = sum(shares[c] * row[c] for c in names)
        after = {c: shares[c] * row[c] / overall for c in names}
        expected -= overall * uncertainty(after)
    assert information(shares, table) == pytest.approx(expected, abs=1e-9)
    assert -1e-12 <= information(shares, table) <= min(uncertainty(shares), math.log2(3)) + 1e-9


def test_the_order_of_tests_does_not_matter() -> None:
    ratios = [{"a": 3.0}, {"b": 0.2, "c": 4.0}, {"a": 0.5, "b": 1.5}]
    ends = []
    for order in itertools.permutations(ratios):
        shares: dict[str, float] = {"a": 0.2, "b": 0.5, "c": 0.3}
        for one in order:
            shares = updated(shares, one)
        ends.append(shares)
    assert all(end == pytest.approx(ends[0]) for end in ends)
    assert ranked(ends[0]) == sorted(ends[0].items(), key=lambda pair: -pair[1])
