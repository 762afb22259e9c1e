"""LD308 where the log itself says where epochs begin."""

from __future__ import annotations

import pytest

from lossdoctor.core.options import Settings
from lossdoctor.engine import diagnose
from tests.rules.cases.ld308 import smooth, staircase, stairs

_ONLY = Settings(select=("LD308",))


@pytest.mark.parametrize("told", ["epoch", "whole", "context"])
def test_the_boundaries_are_found_however_they_are_told(told: str) -> None:
    found = diagnose(staircase(stairs, told=told), settings=_ONLY).findings
    assert [f.code for f in found] == ["LD308"]
    assert found[0].evidence["epochs"] == 4
    assert not diagnose(staircase(smooth, told=told), settings=_ONLY).findings


def test_without_boundaries_it_asks_for_them() -> None:
    result = diagnose(staircase(stairs, told="nothing"), settings=_ONLY)
    assert not result.findings
    assert "steps_per_epoch" in result.abstained[0].needs


def test_two_epochs_are_too_few() -> None:
    assert not diagnose(staircase(stairs, epochs=2), settings=_ONLY).findings
