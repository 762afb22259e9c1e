"""The callback in a real ``fit`` of Keras 3, on its torch backend."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.integrations.support import Broken, Recording, kinds, line, run_in, steps_of, values_of

pytestmark = pytest.mark.slow
if importlib.util.find_spec("keras") is None:
    pytest.skip("pip install 'lossdoctor[keras]'", allow_module_level=True)
os.environ["KERAS_BACKEND"] = "torch"

import keras  # noqa: E402

from lossdoctor import Monitor  # noqa: E402
from lossdoctor.integrations.keras import LossDoctorCallback  # noqa: E402
from lossdoctor.live.actions import StopTraining  # noqa: E402


class Batches(keras.callbacks.Callback):  # type: ignore[misc]
    """The loss of each batch, straight from where it is computed."""

    losses: list[float]

    def on_train_begin(self, logs: Any = None) -> None:
        self.losses = []
        compute = type(self.model).compute_loss.__get__(self.model)

        def told(*arguments: Any, **named: Any) -> Any:
            loss = compute(*arguments, **named)
            if named.get("training"):
                self.losses.append(float(loss))
            return loss

        self.model.compute_loss = told


def model(rate: Any = 0.05, metrics: Any = ("mae",), **more: Any) -> Any:
    keras.utils.set_random_seed(0)
    found = keras.Sequential([keras.Input((8,)), keras.layers.Dense(1)])
    found.compile(optimizer=keras.optimizers.SGD(rate, **more), loss="mse", metrics=list(metrics))
    return found


def fit(trained: Any, *callbacks: Any, rows: int = 256, epochs: int = 4, **more: Any) -> Any:
    x, y = line(rows + 64)
    held = (x[rows:], y[rows:])
    options = {"batch_size": 16, "epochs": epochs, "validation_data": held, "verbose": 0, "shuffle": False, **more}
    return trained.fit(x[:rows], y[:rows], callbacks=list(callbacks), **options)


def test_a_healthy_run(tmp_path: Path) -> None:
    callback, told = LossDoctorCallback(run_dir=tmp_path / "run", actions=[StopTraining()]), Batches()
    shown = fit(model(), told, callback).history
    history = run_in(tmp_path / "run")
    assert steps_of(history, "loss") == list(range(1, 65))
    assert values_of(history, "loss") == pytest.approx(told.losses, rel=1e-4)
    for name in ("val_loss", "mae", "val_mae"):
        assert steps_of(history, name) == [16, 32, 48, 64]
        assert values_of(history, name) == pytest.approx(shown[name])
    assert values_of(history, "learning_rate") == pytest.approx([0.05] * 64)
    roles = history.roles
    assert roles.primary("train_loss") == "loss"
    assert roles.primary("val_loss") == "val_loss"
    assert roles.comparable
    assert roles.primary("learning_rate") == "learning_rate"
    assert roles.primary("grad_norm") == "grad_norm"
    known = callback.monitor.context.known()
    assert known == {
        "planned_steps": 64, "steps_per_epoch": 16, "learning_rate": pytest.approx(0.05), "optimizer": "SGD",
    }  # fmt: skip
    assert history.diagnose().status == "healthy"
    assert kinds(history) == ["finished"]


def test_a_smaller_last_batch(tmp_path: Path) -> None:
    told = Batches()
    fit(model(), told, LossDoctorCallback(run_dir=tmp_path / "run"), rows=248)
    assert values_of(run_in(tmp_path / "run"), "loss") == pytest.approx(told.losses, rel=1e-4)


def test_two_losses(tmp_path: Path) -> None:
    inputs = keras.Input((8,))
    outputs = [keras.layers.Dense(1, name=name)(inputs) for name in ("a", "b")]
    trained = keras.Model(inputs, outputs)
    trained.compile(optimizer="sgd", loss=["mse", "mae"])
    x, y = line(320)
    callback = LossDoctorCallback(run_dir=tmp_path / "run")
    trained.fit(x, [y, y], validation_split=0.2, batch_size=16, epochs=3, verbose=0, callbacks=[callback])
    history = run_in(tmp_path / "run")
    total, a, b = (np.array(values_of(history, n)) for n in ("loss", "a_loss", "b_loss"))
    assert total == pytest.approx(a + b, rel=1e-4)
    assert history.roles.primary("train_loss") == "loss"
    assert history.roles.primary("val_loss") == "val_loss"


JAX = """
import keras, numpy, sys
from lossdoctor.integrations.keras import LossDoctorCallback
from tests.integrations.support import line
x, y = line(256)
layer = keras.layers.Dense(1)
model = keras.Sequential([keras.Input((8,)), layer])
model.compile(optimizer=keras.optimizers.SGD(0.0), loss="mse", steps_per_execution=int(sys.argv[2]))
model.fit(x, y, batch_size=16, epochs=2, verbose=0, shuffle=False, callbacks=[LossDoctorCallback(run_dir=sys.argv[1])])
off = (x @ numpy.array(layer.kernel))[:, 0] + numpy.array(layer.bias) - y
print(*(off**2).reshape(16, 16).mean(axis=1))
"""


@pytest.mark.parametrize("together", [1, 4])
def test_jax_backend(tmp_path: Path, together: int) -> None:
    """Where the state of Keras's means is out of reach during an epoch; several steps in one call too."""
    pytest.importorskip("jax", reason="pip install 'jax[cpu]'")
    done = subprocess.run(
        [sys.executable, "-c", JAX, str(tmp_path / "run"), str(together)],
        cwd=Path(__file__).parents[2],
        env={**os.environ, "KERAS_BACKEND": "jax"},
        capture_output=True,
        text=True,
        check=True,
    )
    history = run_in(tmp_path / "run")
    assert steps_of(history, "loss") == list(range(together, 33, together))
    truth = np.tile([float(v) for v in done.stdout.split()], 2).reshape(-1, together).mean(axis=1)
    assert values_of(history, "loss") == pytest.approx(truth, rel=1e-4)
    assert steps_of(history, "learning_rate") == [16, 32]
    assert kinds(history) == ["finished"]


def test_only_epochs(tmp_path: Path) -> None:
    callback = LossDoctorCallback(run_dir=tmp_path / "run", per_batch=False)
    shown = fit(model(), callback, epochs=12).history
    history = run_in(tmp_path / "run")
    assert steps_of(history, "loss") == steps_of(history, "learning_rate") == list(range(16, 193, 16))
    assert values_of(history, "loss") == pytest.approx(shown["loss"])


def test_schedules_and_accumulated_gradients(tmp_path: Path) -> None:
    schedule = keras.optimizers.schedules.ExponentialDecay(0.05, 10, 0.5)
    trained = model(schedule, gradient_accumulation_steps=2)
    for start in (0, 32):
        fit(trained, LossDoctorCallback(run_dir=tmp_path / "run"), epochs=2)
        assert int(trained.optimizer.iterations) * 2 == start + 32
    history = run_in(tmp_path / "run")
    assert steps_of(history, "loss") == list(range(1, 65))  # the second fit goes on
    rates = values_of(history, "learning_rate")
    assert rates[0] > rates[31] > rates[32] > rates[63]
    assert kinds(history) == ["finished", "restarted", "finished"]


def test_a_diverging_run_is_told_and_stopped(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, judged_often: None
) -> None:
    callback = LossDoctorCallback(run_dir=tmp_path / "run", actions=[StopTraining()])
    shown = fit(model(3.0), callback, epochs=100)
    assert len(shown.epoch) < 100
    history = run_in(tmp_path / "run")
    assert {"announced", "stopped", "finished"} <= set(kinds(history))
    assert history.diagnose().status == "critical"
    assert "LD10" in caplog.text


def test_a_run_that_ends_by_an_error_is_finished(tmp_path: Path) -> None:
    def fail(epoch: int, logs: Any) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), Monitor(tmp_path / "run") as monitor:
        fit(model(), LossDoctorCallback(monitor), keras.callbacks.LambdaCallback(on_epoch_end=fail))
    history = run_in(tmp_path / "run")
    assert steps_of(history, "loss") == list(range(1, 17))
    assert history.events[-1]["kind"] == "crashed"


def test_training_survives_a_broken_monitor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LOSSDOCTOR_RAISE")
    plain, broken = model(), model()
    fit(plain)
    fit(broken, LossDoctorCallback(Broken()))
    for a, b in zip(plain.get_weights(), broken.get_weights(), strict=True):
        assert np.array_equal(a, b)


def test_a_ready_monitor_is_obeyed_and_left_open() -> None:
    monitor = Recording(stop_after=7)
    fit(model(), LossDoctorCallback(monitor))
    assert [step for step, row in monitor.rows if "loss" in row] == list(range(1, 8))
    assert monitor.finished == 0
