"""What counts as normal for a run, and what does not."""

from __future__ import annotations

import math

import numpy as np
import pytest

from lossdoctor.live.actions.normal import GradientLevel, LossLevel, Window


def verdicts(losses: np.ndarray) -> list[str]:
    level = LossLevel()
    return [level.add(loss) for loss in losses.tolist()]


def healthy(kind: str, seed: int = 0, n: int = 800) -> np.ndarray:
    rng = np.random.default_rng(seed)
    at = np.arange(n) / n
    falling = 2.0 * np.exp(-6.0 * at) + 0.1
    if kind == "noisy":
        return falling + 0.3 * rng.standard_normal(n)
    if kind == "heavy-tailed":
        return falling * np.exp(0.3 * rng.standard_t(2, n).clip(-8, 8))
    if kind == "restarts":  # of the learning rate: the level jumps up and falls again
        return falling + 0.15 * np.exp(-40.0 * (at * 4 % 1)) * (at > 0.24) + 0.02 * rng.standard_normal(n)
    if kind == "epochs":  # a harder part of the data at each epoch's end
        return falling + 0.2 * (at * 10 % 1) + 0.02 * rng.standard_normal(n)
    if kind == "single spikes":
        return falling + 0.02 * rng.standard_normal(n) + 50.0 * (rng.random(n) < 0.01)
    return falling + (at > 2) + 0.01 * rng.standard_normal(n) - 5.0  # negative


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("kind", ["noisy", "heavy-tailed", "restarts", "epochs", "single spikes", "negative"])
def test_a_healthy_loss_never_diverges(kind: str, seed: int) -> None:
    assert "diverged" not in verdicts(healthy(kind, seed))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("kind", ["noisy", "heavy-tailed", "restarts", "negative"])
@pytest.mark.parametrize("speed", [0.05, 1.0])
def test_one_that_leaves_its_level_for_good_does(kind: str, seed: int, speed: float) -> None:
    losses = healthy(kind, seed)
    at = 500
    losses[at:] += np.minimum(np.arange(len(losses) - at) * speed, 10.0)
    found = verdicts(losses)
    first = found.index("diverged")
    assert at < first < at + (12 if speed == 1.0 else 60)


def test_a_run_that_diverges_from_the_start() -> None:
    assert "diverged" in verdicts(2.0 * 1.2 ** np.arange(40))[:20]
    assert "diverged" not in verdicts(np.full(40, 2.0) + 0.5 * np.random.default_rng(1).standard_normal(40))


@pytest.mark.parametrize("unit", [1e-30, 1e30])
def test_the_unit_does_not_matter(unit: float) -> None:
    losses = healthy("noisy", 3)
    losses[600:] += 5.0
    assert verdicts(losses * unit) == verdicts(losses)
    level, scaled = GradientLevel(), GradientLevel()
    for norm in [*np.exp(np.random.default_rng(0).standard_normal(200)).tolist(), 1e5]:
        assert level.is_high(norm) == scaled.is_high(norm * unit)
        level.accept(norm)
        scaled.accept(norm * unit)


def test_a_loss_that_is_not_finite_is_said_and_forgotten() -> None:
    level = LossLevel()
    for loss in healthy("noisy").tolist()[:400]:
        level.add(loss)
    assert level.add(math.nan) == "nonfinite"
    assert level.add(math.inf) == "nonfinite"
    assert level.add(0.2) == "normal"


@pytest.mark.parametrize("spread", [0.0, 0.1, 1.0])
def test_gradient_norms_by_their_own_spread(spread: float) -> None:
    rng = np.random.default_rng(0)
    level = GradientLevel()
    for norm in np.exp(spread * rng.standard_normal(500)).tolist():
        assert not level.is_high(norm)
        level.accept(norm)
    assert level.is_high(5.0 if spread < 0.2 else 5000.0)
    assert not level.is_high(3.0)
    assert not level.is_high(math.inf)  # that is another matter
    level.forget()
    assert not level.is_high(5000.0)


def test_the_window_is_a_window() -> None:
    rng, window, values = np.random.default_rng(2), Window(9), []
    for value in rng.integers(0, 6, 200).astype(float).tolist():
        window.add(value)
        values.append(value)
        last = values[-9:]
        assert window.median == np.median(last)
        assert window.sigma == pytest.approx(1.482602 * np.median(np.abs(np.array(last) - np.median(last))), rel=1e-5)
