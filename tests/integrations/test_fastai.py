"""The callback in a real Learner of fastai."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.integrations.support import Broken, Recording, kinds, line, run_in, steps_of, values_of

pytestmark = pytest.mark.slow
pytest.importorskip("fastai", reason="pip install 'lossdoctor[fastai]'")
torch = pytest.importorskip("torch")

from fastai.callback.core import Callback  # noqa: E402
from fastai.callback.schedule import *  # noqa: E402, F403  (it gives Learner its fit_one_cycle and lr_find)
from fastai.callback.training import GradientAccumulation  # noqa: E402
from fastai.data.core import DataLoaders  # noqa: E402
from fastai.data.load import DataLoader  # noqa: E402
from fastai.learner import Learner  # noqa: E402
from fastai.metrics import mae  # noqa: E402
from fastai.optimizer import SGD  # noqa: E402

from lossdoctor.integrations.fastai import LossDoctorCallback  # noqa: E402
from lossdoctor.live.actions import StopTraining  # noqa: E402


class Batches(Callback):  # type: ignore[misc]
    order = 70

    def before_fit(self) -> None:
        if not hasattr(self, "losses"):
            self.losses: list[float] = []
            self.rates: list[float] = []

    def after_batch(self) -> None:
        if self.learn.training:
            self.losses.append(float(self.learn.loss))
            self.rates.append(float(self.learn.opt.hypers[-1]["lr"]))


def learner(folder: Path, *callbacks: Any, rate: float = 0.05) -> Any:
    torch.manual_seed(0)
    x, y = (torch.tensor(a).float() for a in line(320))
    parts = (slice(256), slice(256, None))
    sets = [list(zip(x[p], y[p][:, None], strict=True)) for p in parts]
    loaders = DataLoaders(*(DataLoader(s, bs=16, shuffle=False, num_workers=0) for s in sets), device="cpu")
    found = Learner(
        loaders, torch.nn.Linear(8, 1), loss_func=torch.nn.MSELoss(), lr=rate, opt_func=SGD, metrics=mae,
        cbs=list(callbacks), path=folder,
    )  # fmt: skip
    for callback in found.cbs:
        if type(callback).__name__ == "ProgressCallback":
            found.remove_cb(callback)
            break
    found.logger = lambda _: None
    return found


def test_a_healthy_run(tmp_path: Path) -> None:
    callback, told = LossDoctorCallback(run_dir=tmp_path / "run", actions=[StopTraining()]), Batches()
    learn = learner(tmp_path, callback, told)
    learn.fit_one_cycle(4, 0.1)
    history = run_in(tmp_path / "run")
    assert steps_of(history, "train_loss") == list(range(1, 65))
    assert values_of(history, "train_loss") == pytest.approx(told.losses)
    assert values_of(history, "learning_rate") == pytest.approx(told.rates)
    for name, column in (("valid_loss", 1), ("valid_mae", 2)):
        assert steps_of(history, name) == [16, 32, 48, 64]
        assert values_of(history, name) == pytest.approx([row[column] for row in learn.recorder.values])
    roles = history.roles
    assert roles.primary("train_loss") == "train_loss"
    assert roles.primary("val_loss") == "valid_loss"
    assert roles.comparable
    assert roles.primary("grad_norm") == "grad_norm"
    known = callback.monitor.context.known()
    assert (known["planned_steps"], known["steps_per_epoch"], known["batch_size"]) == (64, 16, 16)
    assert history.diagnose().status == "healthy"
    assert kinds(history) == ["finished"]


def test_norms_are_those_of_the_step(tmp_path: Path) -> None:
    class Norms(Callback):  # type: ignore[misc]
        def before_step(self) -> None:
            found.append(float(sum(p.grad.square().sum() for p in self.learn.model.parameters()) ** 0.5))

    found: list[float] = []
    learner(tmp_path, LossDoctorCallback(run_dir=tmp_path / "run"), Norms()).fit(1)
    history = run_in(tmp_path / "run")
    at = steps_of(history, "grad_norm")
    assert values_of(history, "grad_norm") == pytest.approx([found[step - 1] for step in at], rel=1e-5)


def test_accumulated_gradients_count_as_one_step(tmp_path: Path) -> None:
    told = Batches()
    learn = learner(tmp_path, told, LossDoctorCallback(run_dir=tmp_path / "run"), GradientAccumulation(n_acc=64))
    learn.fit(2)
    history = run_in(tmp_path / "run")
    assert steps_of(history, "train_loss") == list(range(1, 9))
    expected = [sum(told.losses[i : i + 4]) / 4 for i in range(0, 32, 4)]
    assert values_of(history, "train_loss") == pytest.approx(expected)


def test_one_fit_after_another(tmp_path: Path) -> None:
    learn = learner(tmp_path, LossDoctorCallback(run_dir=tmp_path / "run"))
    learn.fit(1)
    learn.fit(2)
    history = run_in(tmp_path / "run")
    assert steps_of(history, "train_loss") == list(range(1, 49))
    assert kinds(history) == ["finished", "restarted", "finished"]


def test_a_search_for_a_rate_and_predictions_are_no_training(tmp_path: Path) -> None:
    monitor = Recording()
    learn = learner(tmp_path, LossDoctorCallback(monitor))
    learn.lr_find(num_it=8, show_plot=False)
    learn.fit(1)
    learn.get_preds()
    assert [step for step, row in monitor.rows if "train_loss" in row] == list(range(1, 17))


def test_a_diverging_run_is_told_and_stopped(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, judged_often: None
) -> None:
    callback = LossDoctorCallback(run_dir=tmp_path / "run", actions=[StopTraining()])
    learner(tmp_path, callback).fit(100, 3.0)
    history = run_in(tmp_path / "run")
    assert len(history["train_loss"]) < 1600
    assert {"announced", "stopped", "finished"} <= set(kinds(history))
    assert history.diagnose().status == "critical"
    assert "LD10" in caplog.text


def test_training_survives_a_broken_monitor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LOSSDOCTOR_RAISE")
    plain, broken = learner(tmp_path), learner(tmp_path, LossDoctorCallback(Broken()))
    plain.fit(2)
    broken.fit(2)
    assert torch.equal(plain.model.weight, broken.model.weight)


def test_a_ready_monitor_is_obeyed_and_left_open(tmp_path: Path) -> None:
    monitor = Recording(stop_after=7)
    learner(tmp_path, LossDoctorCallback(monitor)).fit(4)
    assert len(monitor.rows) == 7
    assert [w[0].__class__ for w in monitor.watched] == [torch.nn.Linear]
    assert monitor.finished == 0
