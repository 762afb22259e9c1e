"""Every cause has something to do about it, with the run's own numbers."""

from __future__ import annotations

import pytest

from lossdoctor.core.history import TrainingHistory
from lossdoctor.core.vocabulary import ACTIONS, CAUSES
from lossdoctor.workup.cures import CURES, actions_for


def history() -> TrainingHistory:
    steps = list(range(1, 101))
    losses = [2.0 * 0.97**s + (0.02 * (s - 60) if s > 60 else 0.0) for s in steps]
    return TrainingHistory({"loss": (steps, losses), "lr": (steps, [0.01] * 100)})


@pytest.mark.parametrize("cause", sorted(CAUSES))
def test_every_cause_has_its_actions(cause: str) -> None:
    actions = actions_for(cause, history().diagnose())
    assert actions
    assert {a.action for a in actions} <= set(ACTIONS)
    assert actions[0].action == CURES[cause][0]
    assert all(a.detail or a.action in ("none", "check_validation") for a in actions)


def test_details_are_of_the_run() -> None:
    (first, *_) = actions_for("learning-rate-too-high", history().diagnose())
    assert "0.01" in first.detail
