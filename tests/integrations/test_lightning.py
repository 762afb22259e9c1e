"""The callback in a real Trainer, of ``lightning`` and of ``pytorch_lightning``."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any, ClassVar

import pytest

from tests.integrations.support import Broken, Recording, kinds, line, run_in, steps_of, values_of

pytestmark = pytest.mark.slow
torch = pytest.importorskip("torch")
pytest.importorskip("pytorch_lightning", reason="pip install 'lossdoctor[lightning]'")

import pytorch_lightning as pl  # noqa: E402

from lossdoctor.integrations.lightning import LossDoctorCallback  # noqa: E402
from lossdoctor.live.actions import StopTraining  # noqa: E402

ROOT = Path(__file__).parents[2]


class Line(pl.LightningModule):  # type: ignore[misc]
    """Linear regression: 16 batches an epoch, as the loaders below give them."""

    def __init__(self, rate: float = 0.05, logs: str = "epoch") -> None:
        super().__init__()
        self.save_hyperparameters()
        torch.manual_seed(0)
        self.layer = torch.nn.Linear(8, 1)
        self.losses: list[float] = []
        self.rates: list[float] = []

    def loss(self, batch: Any) -> Any:
        return torch.nn.functional.mse_loss(self.layer(batch[0])[:, 0], batch[1])

    def training_step(self, batch: Any, index: int) -> Any:
        loss = self.loss(batch)
        self.losses.append(loss.item())
        self.rates.append(self.optimizers().param_groups[0]["lr"])
        if self.hparams["logs"] != "nothing":
            at_steps = self.hparams["logs"] == "step"
            self.log("train/loss", loss, on_step=at_steps, on_epoch=True)
            self.log("residual", loss.sqrt(), on_step=True)
        return loss

    def validation_step(self, batch: Any, index: int) -> None:
        self.log("val_loss", self.loss(batch))

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.SGD(self.parameters(), lr=self.hparams["rate"])
        return [optimizer], [{"scheduler": torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.99), "interval": "step"}]


def loaders(rows: int = 256) -> list[Any]:
    x, y = (torch.tensor(a).float() for a in line(rows + 64))
    parts = (slice(rows), slice(rows, None))
    return [torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x[p], y[p]), batch_size=16) for p in parts]


def trainer(folder: Path, callback: Any, package: Any = pl, **more: Any) -> Any:
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}
    settings = {"max_epochs": 4, "enable_checkpointing": False, **quiet, **more}
    return package.Trainer(default_root_dir=str(folder), callbacks=[callback], **settings)


def test_a_healthy_run(tmp_path: Path) -> None:
    callback = LossDoctorCallback(run_dir=tmp_path / "run", actions=[StopTraining()])
    model = Line()
    trainer(tmp_path, callback).fit(model, *loaders())
    history = run_in(tmp_path / "run")
    assert steps_of(history, "train_loss") == list(range(1, 65))
    assert values_of(history, "train_loss") == pytest.approx(model.losses)
    rates = dict(zip(steps_of(history, "learning_rate")[::-1], values_of(history, "learning_rate")[::-1], strict=True))
    assert [rates[step] for step in range(1, 65)] == pytest.approx(model.rates)  # that of the step, not of the next
    assert values_of(history, "residual") == pytest.approx([v**0.5 for v in model.losses], rel=1e-5)
    assert steps_of(history, "val_loss") == [16, 32, 48, 64]
    assert steps_of(history, "train/loss") == [16, 32, 48, 64]  # means over an epoch
    epoch = model.losses[16:32]
    assert values_of(history, "train/loss")[1] == pytest.approx(sum(epoch) / 16)
    roles = history.roles
    assert roles.primary("train_loss") == "train_loss"
    assert roles.primary("val_loss") == "val_loss"
    assert roles.comparable
    assert roles.primary("grad_norm") == "grad_norm"
    assert roles.primary("learning_rate") == "learning_rate"
    known = callback.monitor.context.known()
    assert known == {"planned_steps": 64, "steps_per_epoch": 16, "optimizer": "SGD"}
    assert callback.monitor.config == {"rate": 0.05, "logs": "epoch"}
    assert history.diagnose().status == "healthy"
    assert kinds(history) == ["finished"]


def test_norms_are_those_of_the_step(tmp_path: Path) -> None:
    """Lightning computes gradients inside ``optimizer.step``: what is there before it is the last step's."""

    class Told(Line):
        norms: ClassVar[list[float]] = []

        def on_before_optimizer_step(self, optimizer: Any) -> None:
            self.norms.append(float(sum(p.grad.square().sum() for p in self.parameters()) ** 0.5))

    class Thorough(LossDoctorCallback):  # type: ignore[misc]
        def on_train_start(self, trainer: Any, pl_module: Any) -> None:
            super().on_train_start(trainer, pl_module)
            self.monitor.watch(pl_module, trainer.optimizers[0], every=1)

    model = Told(logs="nothing")
    trainer(tmp_path, Thorough(run_dir=tmp_path / "run", watch=False), max_epochs=1).fit(model, *loaders())
    history = run_in(tmp_path / "run")
    assert steps_of(history, "grad_norm") == list(range(1, 17))
    assert values_of(history, "grad_norm") == pytest.approx(model.norms, rel=1e-5)


def test_a_loss_logged_at_every_step_is_taken_once(tmp_path: Path) -> None:
    model = Line(logs="step")
    trainer(tmp_path, LossDoctorCallback(run_dir=tmp_path / "run", watch=False)).fit(model, *loaders())
    history = run_in(tmp_path / "run")
    assert set(history.curves) == {"train/loss", "residual", "val_loss", "learning_rate"}
    assert steps_of(history, "train/loss") == list(range(1, 65))
    assert values_of(history, "train/loss") == pytest.approx(model.losses)


def test_validation_within_an_epoch(tmp_path: Path) -> None:
    model = Line(logs="step")
    callback = LossDoctorCallback(run_dir=tmp_path / "run", watch=False)
    trainer(tmp_path, callback, val_check_interval=5, max_epochs=2).fit(model, *loaders())
    history = run_in(tmp_path / "run")
    assert set(history.curves) == {"train/loss", "residual", "val_loss", "learning_rate"}
    assert steps_of(history, "train/loss") == steps_of(history, "residual") == list(range(1, 33))
    assert steps_of(history, "val_loss") == [5, 10, 15, 21, 26, 31]


@pytest.mark.parametrize("batches", [64, 60])  # 8 steps an epoch of 8 batches, or the last one of 4
def test_accumulated_gradients_count_as_one_step(tmp_path: Path, batches: int) -> None:
    model = Line(logs="nothing")
    callback = LossDoctorCallback(run_dir=tmp_path / "run")
    more = {"accumulate_grad_batches": 8, "limit_train_batches": batches, "max_epochs": 2, "val_check_interval": 32}
    trainer(tmp_path, callback, **more).fit(model, *loaders(1024))
    history = run_in(tmp_path / "run")
    per_epoch = 8
    assert steps_of(history, "train_loss") == list(range(1, 2 * per_epoch + 1))
    pieces = [model.losses[e * batches : (e + 1) * batches][i : i + 8] for e in (0, 1) for i in range(0, batches, 8)]
    assert values_of(history, "train_loss") == pytest.approx([sum(p) / len(p) for p in pieces], rel=1e-5)
    assert steps_of(history, "val_loss")[:2] == [4, 8 if batches == 64 else 12]
    assert callback.monitor.context.planned_steps == 16


def test_a_diverging_run_is_told_and_stopped(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, judged_often: None
) -> None:
    callback = LossDoctorCallback(run_dir=tmp_path / "run", actions=[StopTraining()])
    model = Line(3.0, logs="nothing")
    model.configure_optimizers = lambda: torch.optim.SGD(model.parameters(), lr=3.0)
    run = trainer(tmp_path, callback, max_epochs=100)
    run.fit(model, *loaders())
    assert run.global_step < 1600
    history = run_in(tmp_path / "run")
    assert {"announced", "stopped", "finished"} <= set(kinds(history))
    assert history.diagnose().status == "critical"
    assert "LD10" in caplog.text


def test_resuming_from_a_checkpoint_goes_on(tmp_path: Path) -> None:
    first = trainer(tmp_path, LossDoctorCallback(run_dir=tmp_path / "run"), max_epochs=2)
    first.fit(Line(), *loaders())
    first.save_checkpoint(tmp_path / "two.ckpt")
    second = trainer(tmp_path, LossDoctorCallback(run_dir=tmp_path / "run"), max_epochs=4)
    second.fit(Line(), *loaders(), ckpt_path=tmp_path / "two.ckpt")
    history = run_in(tmp_path / "run")
    assert steps_of(history, "train_loss") == list(range(1, 65))
    assert kinds(history) == ["finished", "restarted", "finished"]


def test_an_error_in_training_is_told(tmp_path: Path) -> None:
    model = Line()
    model.on_train_epoch_end = lambda: 1 / 0
    with pytest.raises(ZeroDivisionError):
        trainer(tmp_path, LossDoctorCallback(run_dir=tmp_path / "run")).fit(model, *loaders())
    assert run_in(tmp_path / "run").events[-1]["kind"] == "crashed"


def test_manual_optimization(tmp_path: Path) -> None:
    class Manual(Line):
        automatic_optimization = False

        def training_step(self, batch: Any, index: int) -> Any:
            loss = self.loss(batch)
            self.losses.append(loss.item())
            optimizer = self.optimizers()
            optimizer.zero_grad()
            self.manual_backward(loss)
            optimizer.step()
            return {"loss": loss}

    model = Manual(logs="nothing")
    trainer(tmp_path, LossDoctorCallback(run_dir=tmp_path / "run"), max_epochs=1).fit(model, *loaders())
    history = run_in(tmp_path / "run")
    assert steps_of(history, "train_loss") == list(range(1, 17))
    assert values_of(history, "train_loss") == pytest.approx(model.losses)


def test_training_survives_a_broken_monitor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LOSSDOCTOR_RAISE")
    plain, broken = Line(), Line()
    trainer(tmp_path, pl.Callback()).fit(plain, *loaders())
    trainer(tmp_path, LossDoctorCallback(Broken())).fit(broken, *loaders())
    assert torch.equal(broken.layer.weight, plain.layer.weight)


def test_a_ready_monitor_is_obeyed_and_left_open(tmp_path: Path) -> None:
    monitor = Recording(stop_after=7)
    model = Line(logs="nothing")
    run = trainer(tmp_path, LossDoctorCallback(monitor))
    run.fit(model, *loaders())
    assert run.global_step == 7
    assert [(w[0], type(w[1])) for w in monitor.watched] == [(model, torch.optim.SGD)]
    assert monitor.finished == 0


def test_either_package_gets_a_callback_of_its_own() -> None:
    """By what is imported; by what is installed otherwise."""
    code = "import {0}; from lossdoctor.integrations.lightning import LossDoctorCallback as C; import sys;"
    code += "print(issubclass(C, {0}.Callback), '{1}' in sys.modules)"
    pairs = [("lightning.pytorch", "pytorch_lightning"), ("pytorch_lightning", "lightning.pytorch")]
    for mine, other in pairs:
        pytest.importorskip(mine)
        done = subprocess.run(
            [sys.executable, "-c", code.format(mine, other)], capture_output=True, text=True, check=True
        )
        assert done.stdout.split() == ["True", "False"]


def test_lightning_by_its_other_name(tmp_path: Path) -> None:
    code = f"""
import torch, lightning.pytorch as pl
from lossdoctor.integrations.lightning import LossDoctorCallback
class Line(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(8, 1)
    def training_step(self, batch, index):
        return self.layer(batch).square().mean()
    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.05)
data = torch.utils.data.DataLoader(torch.randn(320, 8), batch_size=16)
pl.Trainer(max_epochs=1, logger=False, enable_checkpointing=False, enable_progress_bar=False, accelerator="cpu",
           callbacks=[LossDoctorCallback(run_dir={str(tmp_path / "run")!r})]).fit(Line(), data)
"""
    pytest.importorskip("lightning")
    subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert steps_of(run_in(tmp_path / "run"), "train_loss") == list(range(1, 21))
