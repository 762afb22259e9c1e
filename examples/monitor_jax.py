"""A JAX and Optax loop: ``monitor.log`` takes JAX arrays as they are. Needs ``pip install jax optax``."""

from __future__ import annotations

from pathlib import Path

import jax
import jax.numpy as jnp
import optax
from sklearn.datasets import load_digits

import lossdoctor


def main(run_dir: str | Path | None = None, learning_rate: float = 0.01) -> lossdoctor.Monitor:
    """Digits by softmax regression with Adam."""
    x, y = (jnp.asarray(a) for a in load_digits(return_X_y=True))
    schedule = optax.cosine_decay_schedule(learning_rate, 300)
    optimizer = optax.adam(schedule)
    weights = jnp.zeros((64, 10))
    state = optimizer.init(weights)

    def loss_of(weights, x, y):
        return optax.softmax_cross_entropy_with_integer_labels(x @ weights, y).mean()

    @jax.jit
    def update(weights, state, x, y):
        loss, gradient = jax.value_and_grad(loss_of)(weights, x, y)
        change, state = optimizer.update(gradient, state)
        return optax.apply_updates(weights, change), state, loss, optax.global_norm(gradient)

    with lossdoctor.Monitor(run_dir, "digits", {"classes": 10, "max_steps": 300}) as monitor:
        for step, rows in enumerate(jax.random.randint(jax.random.key(0), (300, 64), 0, len(x))):
            weights, state, loss, norm = update(weights, state, x[rows] / 16, y[rows])
            monitor.log(step, loss=loss, grad_norm=norm, learning_rate=schedule(step))
    return monitor


if __name__ == "__main__":
    print(main().diagnosis)
