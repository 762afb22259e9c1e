"""The end of a run that is not worth going on with."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from lossdoctor.core.errors import UsageError
from lossdoctor.live import Monitor
from lossdoctor.live.actions import LiveAction, Rescue, StopTraining
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


@pytest.mark.parametrize("rescued", [True, False])
@pytest.mark.parametrize("rescue_first", [True, False])
def test_it_waits_while_a_rescue_answers(tmp_path: Path, rescued: bool, rescue_first: bool) -> None:
    import torch
    from torch import nn

    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 1))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    actions: list[LiveAction] = [*([Rescue()] if rescued else []), StopTraining()]
    with Monitor(tmp_path, actions=actions if rescue_first else actions[::-1]) as monitor:
        monitor.watch(model, optimizer)
        for step in range(300):
            x = torch.randn(32, 4)
            if step == 120:
                x[0, 0] = torch.nan
            loss = (model(x) - x.sum(dim=1, keepdim=True)).square().mean()
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            monitor.log(step, loss=loss)
            if monitor.should_stop:
                break
    assert monitor.should_stop is not rescued
    assert monitor.step == (299 if rescued else 120)


def test_a_rescue_that_does_not_help_does_not_keep_it_from_stopping(tmp_path: Path) -> None:
    class Answering(LiveAction):
        answering = True  # type: ignore[assignment]

    helper, action = Answering(), StopTraining()
    monitor = Monitor(run_dir=tmp_path, actions=[helper, action])
    bad = replace(FINDING, severity="critical")
    action.on_verdict(monitor, verdict((bad,)))
    assert not monitor.should_stop
    helper.answering = False
    healed, sick = verdict(step=1000), verdict(step=1000)
    sick = replace(sick, diagnosis=replace(sick.diagnosis, findings=(bad,)))
    action.on_verdict(monitor, sick)
    assert monitor.should_stop
    other = StopTraining()
    second = Monitor(run_dir=tmp_path / "second", actions=[helper, other])
    helper.answering = True
    other.on_verdict(second, verdict((bad,)))
    helper.answering = False
    other.on_verdict(second, healed)
    assert not second.should_stop
