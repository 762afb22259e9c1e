"""The tracker in a real Accelerator."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

from lossdoctor import Monitor
from tests.integrations.support import Broken, Recording, kinds, line, run_in, steps_of, values_of

pytestmark = pytest.mark.slow
pytest.importorskip("accelerate", reason="pip install 'lossdoctor[accelerate]'")
torch = pytest.importorskip("torch")

from accelerate import Accelerator  # noqa: E402

from lossdoctor.integrations.accelerate import LossDoctorTracker  # noqa: E402
from lossdoctor.live.actions import StopTraining  # noqa: E402


def train(tracker: Any, rate: float = 0.05, epochs: int = 4, config: Any = None, start: int = 0) -> list[float]:
    """A loop as in Accelerate's documentation; ends where the tracker says so. The losses."""
    accelerator = Accelerator(cpu=True, log_with=tracker)
    accelerator.init_trackers("project", config=config)
    torch.manual_seed(0)
    x, y = (torch.tensor(a).float() for a in line(256))
    data = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, y), batch_size=16)
    model = torch.nn.Linear(8, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=rate)
    model, optimizer, data = accelerator.prepare(model, optimizer, data)
    tracker.watch(model, optimizer)
    losses: list[float] = []
    for epoch in range(epochs):
        for inputs, targets in data:
            loss = torch.nn.functional.mse_loss(model(inputs)[:, 0], targets)
            optimizer.zero_grad()
            accelerator.backward(loss)
            optimizer.step()
            losses.append(loss.item())
            accelerator.log({"train/loss": loss.detach(), "note": "text"}, step=start + len(losses))
            if tracker.should_stop:
                accelerator.end_training()
                return losses
        accelerator.log({"val/loss": losses[-1], "epoch": epoch + 1}, step=start + len(losses))
    accelerator.end_training()
    return losses


def test_a_healthy_run(tmp_path: Path) -> None:
    tracker = LossDoctorTracker(run_dir=tmp_path / "run", actions=[StopTraining()])
    losses = train(tracker, config={"num_train_steps": 64, "lr": 0.05, "batch_size": 16})
    history = run_in(tmp_path / "run")
    assert steps_of(history, "train/loss") == list(range(1, 65))
    assert values_of(history, "train/loss") == pytest.approx(losses)
    assert steps_of(history, "val/loss") == [16, 32, 48, 64]
    roles = history.roles
    assert roles.primary("train_loss") == "train/loss"
    assert roles.primary("val_loss") == "val/loss"
    assert roles.primary("learning_rate") == "learning_rate"
    assert roles.primary("grad_norm") == "grad_norm"
    assert tracker.monitor.config == {"num_train_steps": 64, "lr": 0.05, "batch_size": 16}
    assert history.context.known()["planned_steps"] == 64
    assert history.diagnose().status == "healthy"
    assert kinds(history) == ["finished"]
    assert tracker.tracker is tracker.monitor


def test_a_diverging_run_is_told_and_stopped(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, judged_often: None
) -> None:
    tracker = LossDoctorTracker(run_dir=tmp_path / "run", actions=[StopTraining()])
    assert len(train(tracker, rate=3.0, epochs=100)) < 1600
    history = run_in(tmp_path / "run")
    assert {"announced", "stopped", "finished"} <= set(kinds(history))
    assert history.diagnose().status == "critical"
    assert "LD10" in caplog.text


def test_a_second_process_goes_on(tmp_path: Path) -> None:
    for start in (0, 64):
        train(LossDoctorTracker(run_dir=tmp_path / "run"), start=start)
    history = run_in(tmp_path / "run")
    assert steps_of(history, "train/loss") == list(range(1, 129))
    assert kinds(history) == ["finished", "restarted", "announced", "finished"]
    assert history.events[2]["code"] == "LD109"  # the second process begins with a fresh model


def test_a_ready_monitor_is_left_open_and_steps_are_counted(tmp_path: Path) -> None:
    with Monitor(tmp_path / "run") as monitor:
        accelerator = Accelerator(cpu=True, log_with=LossDoctorTracker(monitor))
        accelerator.init_trackers("project")
        assert accelerator.get_tracker("lossdoctor", unwrap=True) is monitor
        for loss in (3.0, 2.0, 1.0):
            accelerator.log({"loss": loss})
        accelerator.end_training()
        monitor.log(4, loss=0.5)
    assert steps_of(run_in(tmp_path / "run"), "loss") == [1, 2, 3, 4]


def test_the_loop_is_ended(tmp_path: Path) -> None:
    monitor = Recording(stop_after=7)
    assert len(train(LossDoctorTracker(monitor))) == 7
    assert [(type(w[0]), type(w[1])) for w in monitor.watched] == [(torch.nn.Linear, torch.optim.SGD)]


def test_training_survives_a_broken_monitor(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.delenv("LOSSDOCTOR_RAISE")
    with caplog.at_level(logging.WARNING, "lossdoctor"):
        assert train(LossDoctorTracker(Broken())) == train(LossDoctorTracker(Recording()))
    assert len(caplog.records) == 3  # log, watch, should_stop: each told once
