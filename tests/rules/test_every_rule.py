"""What holds for every registered rule: vocabulary, documentation, and survival of any curve."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lossdoctor.core import vocabulary
from lossdoctor.core.diagnosis import Diagnosis
from lossdoctor.core.history import TrainingHistory
from lossdoctor.engine.judge import examine
from lossdoctor.rules import FAMILIES, all_rules, find_rule, sections
from lossdoctor.rules.base import SECTIONS, Rule
from tests.rules import cases, shapes

ALL_CASES = [
    (rule.code, kind, name)
    for rule in all_rules()
    for kind in ("SICK", "HEALTHY")
    for name in getattr(cases.load(rule.code), kind)
]


@pytest.mark.parametrize("rule", all_rules(), ids=lambda r: r.code)
def test_declared_as_the_house_wants(rule: Rule) -> None:
    family = next(f for f in FAMILIES if type(rule) in f.RULES)
    digit = {"stability": "1", "progress": "2", "generalization": "3", "log": "4"}[family.__name__.rsplit(".", 1)[-1]]
    assert rule.code[2] == digit
    assert rule.severity in vocabulary.SEVERITIES
    assert type(rule).__module__.rsplit(".", 1)[-1] == rule.name.replace("-", "_")
    assert find_rule(rule.name.upper()) is rule
    found = sections(rule)
    assert [s for s in SECTIONS if not found.get(s)] == []
    for option in rule.options:
        assert option.low <= option.default <= option.high
        assert option.meaning
        assert option.unit


@pytest.mark.parametrize(("code", "kind", "name"), ALL_CASES)
def test_findings_keep_to_the_vocabulary(code: str, kind: str, name: str) -> None:
    history = getattr(cases.load(code), kind)[name]()
    for finding in (*examine(history)[1], *history.diagnose().findings):  # as rules say it, and with what was learned
        assert finding.severity in vocabulary.SEVERITIES
        assert {c.name for c in finding.causes} <= set(vocabulary.CAUSES)
        assert {c.test for c in finding.causes} <= vocabulary.TESTS | {None}
        assert {a.action for a in finding.actions} <= set(vocabulary.ACTIONS)
        assert all(a.grade in vocabulary.SAFETY_GRADES for a in finding.actions)
        assert 0 <= finding.confidence <= 1
        assert sum(c.likelihood for c in finding.causes) == pytest.approx(1.0)


def _codes(diagnosis: Diagnosis) -> list[tuple[str, str, int | None]]:
    return [(f.code, f.severity, f.onset_step) for f in diagnosis.findings]


@pytest.mark.parametrize(("code", "kind", "name"), ALL_CASES)
@pytest.mark.parametrize("factor", [2.0**10, 2.0**-20])
def test_powers_of_two_change_nothing_but_the_scale(code: str, kind: str, name: str, factor: float) -> None:
    history = getattr(cases.load(code), kind)[name]()
    if code == "LD202" or "train/CrossEntropyLoss" in history:
        pytest.skip("a cross-entropy has a scale of its own")
    scaled = TrainingHistory(
        {n: (c.steps, c.values * factor if "acc" not in n else c.values) for n, c in history.curves.items()},
        context=history.context,
    )
    a, b = history.diagnose(), scaled.diagnose()
    assert _codes(a) == _codes(b)
    assert [f.confidence for f in a.findings] == [f.confidence for f in b.findings]


@pytest.mark.parametrize("factor", [1e-6, 1e3, 1e9])
@pytest.mark.parametrize(
    "family", [f for f in (*shapes.HEALTHY, *shapes.SICK) if f is not shapes.fell_once], ids=lambda f: f.__name__
)
def test_any_scale_gives_the_same_codes(family: shapes.Family, factor: float) -> None:
    curves = family(np.random.default_rng([3, 3]))
    scaled = {n: (s, v * factor) for n, (s, v) in curves.items()}
    assert _codes(shapes.history(curves).diagnose()) == _codes(shapes.history(scaled).diagnose())


_VALUES = st.one_of(
    st.floats(allow_nan=True, allow_infinity=True),
    st.floats(0.1, 10),
    st.sampled_from([0.0, 1.0, -1.0, 1e308, -1e308, 5e-324, float("nan"), float("inf")]),
)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.tuples(st.integers(-5, 200), _VALUES), max_size=60),
    st.lists(st.tuples(st.integers(0, 200), _VALUES), max_size=30),
)
def test_no_curve_breaks_a_rule(train: list[tuple[int, float]], val: list[tuple[int, float]]) -> None:
    history = TrainingHistory()
    for name, rows in (("loss", train), ("val_loss", val)):
        for step, value in rows:
            history.add(name, step, value)
    result = history.diagnose()
    assert result.status in vocabulary.STATUSES
    assert not result.internal_errors
    assert result.basis


@pytest.mark.parametrize("values", [[], [1.0], [1.0] * 500, [float("nan")] * 50, [1e308, -1e308] * 40, [0.0] * 9])
def test_degenerate_curves(values: list[float]) -> None:
    history = TrainingHistory(loss=values)
    result = history.diagnose()
    assert result.status != "healthy"
    assert not result.internal_errors
