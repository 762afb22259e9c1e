"""A JAX and Optax loop needs no callback: ``monitor.log`` takes JAX arrays."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lossdoctor import Monitor
from tests.integrations.support import kinds, line, run_in, steps_of, values_of

jax = pytest.importorskip("jax", reason="pip install 'jax[cpu]' optax")
optax = pytest.importorskip("optax", reason="pip install 'jax[cpu]' optax")
jnp = pytest.importorskip("jax.numpy")

from lossdoctor.live.actions import StopTraining  # noqa: E402

pytestmark = pytest.mark.slow


def train(monitor: Monitor, rate: float, steps: int = 200) -> list[float]:
    x, y = (jnp.asarray(a, dtype=jnp.float32) for a in line(256))
    optimizer = optax.sgd(rate)
    weights = jnp.zeros(8)
    state = optimizer.init(weights)

    @jax.jit
    def step(weights: Any, state: Any) -> Any:
        loss, gradient = jax.value_and_grad(lambda w: jnp.mean((x @ w - y) ** 2))(weights)
        updates, state = optimizer.update(gradient, state)
        return optax.apply_updates(weights, updates), state, loss, optax.global_norm(gradient)

    losses = []
    for at in range(steps):
        weights, state, loss, norm = step(weights, state)
        monitor.log(at, loss=loss, grad_norm=norm, learning_rate=rate)
        losses.append(float(loss))
        if monitor.should_stop:
            break
    return losses


def test_arrays_are_taken_as_they_are(tmp_path: Path) -> None:
    with Monitor(tmp_path / "run") as monitor:
        losses = train(monitor, 0.05)
    history = run_in(tmp_path / "run")
    assert steps_of(history, "loss") == list(range(200))
    assert np.array_equal(values_of(history, "loss"), losses)
    assert history.roles.primary("grad_norm") == "grad_norm"
    assert history.diagnose().status == "healthy"


def test_a_diverging_run_is_told_and_stopped(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, judged_often: None
) -> None:
    with Monitor(tmp_path / "run", actions=[StopTraining()]) as monitor:
        assert len(train(monitor, 3.0)) < 200
    assert {"announced", "stopped"} <= set(kinds(run_in(tmp_path / "run")))
    assert "LD10" in caplog.text
