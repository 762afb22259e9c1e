"""What is known of a run besides its curves."""

from __future__ import annotations

from typing import Any

import pytest

from lossdoctor.core.context import RunContext
from lossdoctor.core.errors import UsageError


def test_pairs_become_numbers() -> None:
    context = RunContext.from_pairs(
        {"classes": "10", "planned_steps": 1e4, "learning_rate": "3e-4", "optimizer": "adamw", "direction:score": "max"}
    )
    assert context.known() == {"classes": 10, "planned_steps": 10_000, "learning_rate": 3e-4, "optimizer": "adamw"}
    assert isinstance(context.planned_steps, int)
    assert context.directions == {"score": "max"}


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        ({"klasses": 1}, r"unknown context key 'klasses'; known are classes, planned_steps, .*direction:METRIC"),
        ({"classes": "ten"}, r"context classes must be a number, got 'ten'"),
        ({"classes": None}, r"must be a number, got None"),
        ({"classes": "2.5"}, r"context classes must be a whole number, got '2.5'"),
        ({"classes": 0}, r"must be above 0 and finite, got 0"),
        ({"learning_rate": "nan"}, r"must be above 0 and finite, got 'nan'"),
        ({"planned_steps": "inf"}, r"must be above 0 and finite"),
        ({"direction:x": "up"}, r"context direction:x must be min or max, got 'up'"),
    ],
)
def test_wrong_pairs_are_told(pairs: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        RunContext.from_pairs(pairs)


def test_what_is_given_goes_over_what_was_found() -> None:
    found = RunContext(classes=10, batch_size=32, directions={"a": "min", "b": "min"}, extra={"model": "x"})
    both = found.merged(RunContext(classes=2, directions={"b": "max"}))
    assert (both.classes, both.batch_size) == (2, 32)
    assert both.directions == {"a": "min", "b": "max"}
    assert both.extra == {"model": "x"}
    assert found.merged(None) is found
    assert RunContext().known() == {}
