"""The callback in a real Trainer."""

from __future__ import annotations

import logging
import math
from pathlib import Path
from typing import Any

import pytest

import lossdoctor
from tests.integrations.support import Broken, Recording, kinds, line, run_in, steps_of, values_of

pytestmark = pytest.mark.slow
transformers = pytest.importorskip("transformers", reason="pip install 'lossdoctor[transformers]'")
torch = pytest.importorskip("torch")

from lossdoctor.integrations.transformers import LossDoctorCallback  # noqa: E402
from lossdoctor.live.actions import Rescue, StopTraining  # noqa: E402


class Line(torch.nn.Module):  # type: ignore[misc]
    def __init__(self, features: int) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(features, 1)

    def forward(self, x: Any, labels: Any) -> dict[str, Any]:
        y = self.layer(x)[:, 0]
        return {"loss": torch.nn.functional.mse_loss(y, labels), "logits": y}


def trainer(folder: Path, callback: Any, *, x: Any = None, **more: Any) -> Any:
    torch.manual_seed(0)
    inputs, targets = line(320)
    inputs = inputs if x is None else x
    rows = [
        {"x": torch.tensor(a).float(), "labels": torch.tensor(b).float()} for a, b in zip(inputs, targets, strict=True)
    ]
    settings = {
        "max_steps": 60, "eval_steps": 20, "learning_rate": 0.05, "logging_steps": 1, "max_grad_norm": 1e9,
        "per_device_train_batch_size": 16, "optim": "sgd", "lr_scheduler_type": "constant", "eval_strategy": "steps",
        "report_to": [], "save_strategy": "no", "disable_tqdm": True, "use_cpu": True,
    }  # fmt: skip
    return transformers.Trainer(
        model=Line(8),
        args=transformers.TrainingArguments(str(folder / "out"), **{**settings, **more}),
        train_dataset=rows[:256],
        eval_dataset=rows[256:],
        callbacks=[callback],
    )


def test_a_healthy_run(tmp_path: Path) -> None:
    callback = LossDoctorCallback(run_dir=tmp_path / "run", actions=[StopTraining()])
    trained = trainer(tmp_path, callback)
    trained.train()
    history = run_in(tmp_path / "run")
    logged = [row for row in trained.state.log_history if "loss" in row]
    assert steps_of(history, "loss") == list(range(1, 61)) == [row["step"] for row in logged]
    assert values_of(history, "loss") == pytest.approx([row["loss"] for row in logged])
    assert values_of(history, "grad_norm") == pytest.approx([row["grad_norm"] for row in logged])
    assert steps_of(history, "eval_loss") == [20, 40, 60]
    assert set(values_of(history, "learning_rate")) == {0.05}
    assert history.roles.primary("train_loss") == "loss"
    assert history.roles.primary("val_loss") == "eval_loss"
    assert history.roles.primary("learning_rate") == "learning_rate"
    assert history.roles.primary("grad_norm") == "grad_norm"
    assert history.roles.comparable
    assert not [n for n in history.curves if n.startswith("train_") or "per_second" in n]
    assert "update_ratio" in history.curves  # by watching
    known = callback.monitor.context.known()
    assert known == {
        "planned_steps": 60, "steps_per_epoch": 16, "batch_size": 16, "learning_rate": 0.05, "clip_norm": 1e9,
        "optimizer": "sgd",
    }  # fmt: skip
    assert history.diagnose().status == "healthy"
    assert kinds(history) == ["finished"]
    assert not callback.monitor.should_stop


def test_a_diverging_run_is_told_and_stopped(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, judged_often: None
) -> None:
    callback = LossDoctorCallback(run_dir=tmp_path / "run", actions=[StopTraining()])
    trained = trainer(tmp_path, callback, learning_rate=3.0, max_steps=2000, max_grad_norm=0, eval_strategy="no")
    with caplog.at_level(logging.WARNING, "lossdoctor"):
        trained.train()
    assert trained.state.global_step < 2000
    history = run_in(tmp_path / "run")
    assert "announced" in kinds(history)
    assert "stopped" in kinds(history)
    assert history.diagnose().status == "critical"
    assert "LD10" in caplog.text


def test_what_comes_after_the_training(tmp_path: Path) -> None:
    callback = LossDoctorCallback(run_dir=tmp_path / "run", watch=False)
    trained = trainer(tmp_path, callback, max_steps=20)
    trained.train()
    trained.evaluate()
    assert steps_of(run_in(tmp_path / "run"), "eval_loss") == [20]
    again = trainer(tmp_path, LossDoctorCallback(run_dir=tmp_path / "run", watch=False), max_steps=20)
    again.train()  # begun anew in the same folder: two runs
    first, second = lossdoctor.read(tmp_path / "run")
    assert steps_of(first, "loss") == steps_of(second, "loss") == list(range(1, 21))


def test_resuming_from_a_checkpoint_goes_on(tmp_path: Path) -> None:
    first = trainer(
        tmp_path, LossDoctorCallback(run_dir=tmp_path / "run"), max_steps=30, save_strategy="steps", save_steps=30
    )
    first.train()
    second = trainer(tmp_path, LossDoctorCallback(run_dir=tmp_path / "run"), max_steps=60)
    second.train(resume_from_checkpoint=str(tmp_path / "out" / "checkpoint-30"))
    history = run_in(tmp_path / "run")
    assert steps_of(history, "loss") == list(range(1, 61))
    assert kinds(history) == ["finished", "restarted", "finished"]
    assert history.diagnose().status == "healthy"


def test_accumulated_gradients_count_as_one_step(tmp_path: Path) -> None:
    callback = LossDoctorCallback(run_dir=tmp_path / "run")
    trainer(tmp_path, callback, gradient_accumulation_steps=4, max_steps=24, per_device_train_batch_size=4).train()
    assert steps_of(run_in(tmp_path / "run"), "loss") == list(range(1, 25))
    known = callback.monitor.context.known()
    assert (known["batch_size"], known["steps_per_epoch"], known["planned_steps"]) == (16, 16, 24)


def one_bad_row() -> Any:
    inputs, _ = line(320)
    inputs = inputs.copy()
    inputs[100, 0] = math.nan
    return inputs


@pytest.mark.parametrize("every", [1, 10])
def test_a_hidden_loss_of_nan_is_found_by_its_gradients(tmp_path: Path, every: int) -> None:
    """Trainer writes it as 0, or as the mean of the others."""
    callback = LossDoctorCallback(run_dir=tmp_path / "run")
    trainer(tmp_path, callback, x=one_bad_row(), logging_steps=every, max_grad_norm=0, eval_strategy="no").train()
    history = run_in(tmp_path / "run")
    assert all(math.isfinite(v) for v in values_of(history, "loss"))
    assert [f.code for f in history.diagnose().findings] == ["LD107"]


@pytest.mark.parametrize(
    ("filtered", "watch", "told"),
    [(True, True, ""), (True, False, "Trainer hides losses of NaN"), (False, True, "all later ones that Trainer logs")],
)
def test_what_trainer_does_to_a_loss_of_nan_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, filtered: bool, watch: bool, told: str
) -> None:
    callback = LossDoctorCallback(run_dir=tmp_path / "run", watch=watch)
    trainer(tmp_path, callback, logging_nan_inf_filter=filtered, max_steps=4, eval_strategy="no").train()
    said = [r.getMessage() for r in caplog.records if "NaN" in r.getMessage()]
    assert [told in one for one in said] == ([True] if told else [])


def test_a_rescued_run_loses_one_step(tmp_path: Path) -> None:
    callback = LossDoctorCallback(run_dir=tmp_path / "run", actions=[Rescue()])
    trained = trainer(tmp_path, callback, x=one_bad_row(), eval_strategy="no")
    trained.train()
    assert trained.model.layer.weight.isfinite().all()
    found = set(kinds(run_in(tmp_path / "run")))
    assert "skipped_step" in found
    assert "rolled_back" not in found


def test_training_survives_a_broken_monitor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LOSSDOCTOR_RAISE")
    plain = trainer(tmp_path, transformers.PrinterCallback(), max_steps=20)
    plain.train()
    broken = trainer(tmp_path, LossDoctorCallback(Broken()), max_steps=20)
    broken.train()
    assert broken.state.global_step == 20
    assert torch.equal(broken.model.layer.weight, plain.model.layer.weight)


def test_a_ready_monitor_is_asked_at_every_step(tmp_path: Path) -> None:
    monitor = Recording(stop_after=7)
    trained = trainer(tmp_path, LossDoctorCallback(monitor), eval_strategy="no")
    trained.train()
    assert trained.state.global_step == 7
    ((model, optimizer, how),) = monitor.watched
    assert isinstance(model, Line)
    assert type(optimizer) is torch.optim.SGD
    assert set(how) == {"scheduler"}
    assert monitor.finished == 0
