"""LD309 on what the active test measures."""

from __future__ import annotations

import pytest

from lossdoctor.core.finding import Measurement
from lossdoctor.core.options import Settings
from lossdoctor.engine import diagnose
from tests.rules.cases import losses

_ONLY = Settings(select=("LD309",))
_HISTORY = losses(*[0.3 + 1.7 * 0.9**i for i in range(80)])


def _codes(*measurements: Measurement) -> list[str]:
    return [f.code for f in diagnose(_HISTORY, measurements=measurements, settings=_ONLY).findings]


@pytest.mark.parametrize(
    ("value", "detail", "told"),
    [
        (1.2, {"train_mode": 0.3, "eval_mode": 1.5}, True),
        (1.2, {}, True),  # beside the level at which training ended
        (0.05, {"train_mode": 0.3, "eval_mode": 0.35}, False),
        (-0.1, {"train_mode": 0.3, "eval_mode": 0.2}, False),
        (0.002, {"train_mode": 0.001, "eval_mode": 0.003}, False),  # three times nothing
        (float("nan"), {}, False),
    ],
)
def test_the_measured_gap(value: float, detail: dict[str, float], told: bool) -> None:
    assert _codes(Measurement("eval_mode_gap", value, step=80, detail=detail)) == (["LD309"] if told else [])


def test_the_latest_measurement_counts() -> None:
    first = Measurement("eval_mode_gap", 1.2, step=40, detail={"train_mode": 0.4, "eval_mode": 1.6})
    later = Measurement("eval_mode_gap", 0.0, step=80, detail={"train_mode": 0.3, "eval_mode": 0.3})
    assert _codes(first) == ["LD309"]
    assert _codes(first, later) == []


def test_without_a_measurement_it_says_what_to_run() -> None:
    abstained = diagnose(_HISTORY, settings=_ONLY).abstained
    assert "eval_mode_gap" in abstained[0].needs
