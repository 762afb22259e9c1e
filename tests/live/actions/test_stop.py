"""The end of a run that is not worth going on with."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from lossdoctor.core.errors import UsageError
from lossdoctor.live import Monitor
from lossdoctor.live.actions import StopTraining
from tests.live.actions.test_alert import FINDING, verdict


def monitored(tmp_path: Path, action: StopTraining) -> Monitor:
    return Monitor(run_dir=tmp_path, actions=[action])


def test_it_waits_for_what_it_was_asked_for(tmp_path: Path) -> None:
    action = StopTraining()
    monitor = monitored(tmp_path, action)
    action.on_verdict(monitor, verdict((FINDING,)))
    assert not monitor.should_stop
    action.on_verdict(monitor, verdict((replace(FINDING, severity="critical"),)))
    assert monitor.should_stop
    assert monitor.stop_reason == "critical LD301 overfitting: val_loss rose"
    assert [e.kind for e in monitor.events] == ["stopped"]


@pytest.mark.parametrize("on", ["overfitting", "LD3", ["LD101", "ld301"], "warning"])
def test_codes_names_and_prefixes(tmp_path: Path, on: str) -> None:
    action = StopTraining(on)
    monitor = monitored(tmp_path, action)
    action.on_verdict(monitor, verdict((replace(FINDING, code="LD204", severity="info"),)))
    assert not monitor.should_stop
    action.on_verdict(monitor, verdict((FINDING,)))
    assert monitor.should_stop


def test_what_was_too_early_still_counts_later_unless_it_healed(tmp_path: Path) -> None:
    action = StopTraining("warning", after=1000)
    monitor = monitored(tmp_path, action)
    action.on_verdict(monitor, verdict((FINDING,)))
    action.on_verdict(monitor, verdict(withdrawn=(FINDING,), step=950))
    action.on_verdict(monitor, verdict(step=1000))
    assert not monitor.should_stop
    action.on_verdict(monitor, verdict((FINDING,), step=990))
    action.on_verdict(monitor, verdict(step=1000))
    assert monitor.should_stop


def test_what_there_is_not_is_refused() -> None:
    with pytest.raises(UsageError, match="step of at least 0"):
        StopTraining(after=-1)
    with pytest.raises(UsageError, match="unknown code or name 'LD999'"):
        StopTraining("LD999")
