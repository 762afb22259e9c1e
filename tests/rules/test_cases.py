"""Every rule finds its sick cases and stays quiet on its healthy ones."""

from __future__ import annotations

import pytest

from lossdoctor.core.finding import Finding
from lossdoctor.core.history import TrainingHistory
from lossdoctor.core.options import Settings
from lossdoctor.engine import diagnose
from lossdoctor.rules import all_rules
from tests.rules import cases

CODES = [r.code for r in all_rules()]


def found(history: TrainingHistory, code: str) -> list[Finding]:
    """The findings of one rule alone."""
    return [f for f in diagnose(history, settings=Settings(select=(code,))).findings if f.code == code]


def _pairs(kind: str) -> list[tuple[str, str]]:
    return [(code, name) for code in CODES for name in getattr(cases.load(code), kind)]


@pytest.mark.parametrize("code", CODES)
def test_every_rule_has_cases(code: str) -> None:
    module = cases.load(code)
    assert len(module.SICK) >= 2
    assert len(module.HEALTHY) >= 2


@pytest.mark.parametrize(("code", "name"), _pairs("SICK"))
def test_sick(code: str, name: str) -> None:
    history = cases.load(code).SICK[name]()
    result = found(history, code)
    assert result, f"{code} misses {name!r}"
    first = result[0]
    assert first.causes
    assert first.summary.strip()
    assert first.metric in history


@pytest.mark.parametrize(("code", "name"), _pairs("HEALTHY"))
def test_healthy(code: str, name: str) -> None:
    result = found(cases.load(code).HEALTHY[name](), code)
    assert not result, f"{code} fires on {name!r}: {result[0].summary if result else ''}"
