"""Seeded curves with a known verdict: families of healthy and sick runs as they look in real logs.

Each function returns name -> (steps, values). Scale, length, noise and logging interval are drawn from the seed, so a
rule that passes on many seeds does not rest on one curve.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from lossdoctor.core.history import TrainingHistory

Curves = dict[str, tuple[NDArray[np.int64], NDArray[np.float64]]]
Family = Callable[[np.random.Generator], Curves]


def history(curves: Curves, **options: object) -> TrainingHistory:
    """The curves as a history."""
    return TrainingHistory(curves, **options)  # type: ignore[arg-type]


def _power(t: NDArray[np.float64], start: float, end: float, rate: float) -> NDArray[np.float64]:
    """A decay from start towards end, fast first: (1 + rate t)^-1 with t from 0 to 1."""
    return end + (start - end) / (1 + rate * t)


def _steps(n: int, every: int) -> NDArray[np.int64]:
    return np.arange(1, n + 1, dtype=np.int64) * every


def _scale(rng: np.random.Generator) -> float:
    return float(np.exp(rng.uniform(np.log(1e-3), np.log(1e3))))


# healthy


def pretraining(rng: np.random.Generator) -> Curves:
    """Many steps, mini-batch noise, a power law that still falls a little at the end, validation close by."""
    n, every = int(rng.integers(100, 3000)), int(rng.choice([1, 10, 100]))
    t = np.linspace(0, 1, n)
    base = _power(t, rng.uniform(7, 11), rng.uniform(1.5, 3.5), rng.uniform(10, 80))
    loss = base * np.exp(rng.normal(0, rng.uniform(0.01, 0.06), n))
    m = int(rng.integers(8, 60))
    at = np.unique(np.linspace(0, n - 1, m).astype(int))
    val = base[at] * (1 + rng.uniform(0, 0.1)) * np.exp(rng.normal(0, 0.003, len(at)))
    s, c = _steps(n, every), _scale(rng)
    return {"train_loss": (s, loss * c), "val_loss": (s[at], val * c)}


def epochs(rng: np.random.Generator) -> Curves:
    """One value per epoch: training falls, validation falls and levels off."""
    n = int(rng.integers(15, 200))
    t = np.linspace(0, 1, n)
    train = _power(t, 1.0, rng.uniform(0.02, 0.4), rng.uniform(5, 40)) * np.exp(
        rng.normal(0, rng.uniform(0.005, 0.04), n)
    )
    low = rng.uniform(0.15, 0.5)
    val = (low + (1 - low) * np.exp(-t * rng.uniform(5, 20))) * np.exp(rng.normal(0, rng.uniform(0.005, 0.05), n))
    s, c = _steps(n, 1), _scale(rng)
    return {"loss": (s, train * c), "val_loss": (s, val * c)}


def fine_tuning(rng: np.random.Generator) -> Curves:
    """Starts low, falls by a fifth to a half at once, then goes on slowly under strong mini-batch noise."""
    n, every = int(rng.integers(40, 1500)), int(rng.choice([1, 5, 10, 50]))
    t = np.linspace(0, 1, n)
    start = rng.uniform(1.2, 2.5)
    base = (
        start * (1 - rng.uniform(0.2, 0.5) * (1 - np.exp(-t * rng.uniform(8, 40)))) * (1 - rng.uniform(0.03, 0.15) * t)
    )
    loss = base * np.exp(rng.normal(0, rng.uniform(0.03, 0.15), n))
    s = _steps(n, every)
    out: Curves = {"loss": (s, loss)}
    if rng.random() < 0.5:
        at = np.unique(np.linspace(n // 8, n - 1, int(rng.integers(5, 20))).astype(int))
        out["eval_loss"] = (s[at], base[at] * 1.03 * np.exp(rng.normal(0, 0.004, len(at))))
    return out


def level_tail(rng: np.random.Generator) -> Curves:
    """Converges within a tenth of the run and stays there: done early, not sick."""
    n = int(rng.integers(60, 3000))
    t = np.linspace(0, 1, n)
    base = rng.uniform(0.05, 0.4) + np.exp(-t * rng.uniform(20, 100))
    loss = base * np.exp(rng.normal(0, rng.uniform(0.03, 0.25), n))
    at = np.unique(np.linspace(0, n - 1, int(rng.integers(10, 80))).astype(int))
    val = base[at] * np.exp(rng.normal(0, rng.uniform(0.003, 0.02), len(at)))
    s, c = _steps(n, 1), _scale(rng)
    return {"loss": (s, loss * c), "validation/loss": (s[at], val * c)}


def step_schedule(rng: np.random.Generator) -> Curves:
    """Stairs: the learning rate drops at 50 % and 75 %, the loss with it."""
    n = int(rng.integers(60, 1000))
    t = np.linspace(0, 1, n)
    base = 0.5 + 1.5 * np.exp(-t * 15) - 0.2 * (t > 0.5) - 0.1 * (t > 0.75)
    loss = base * np.exp(rng.normal(0, 0.03, n))
    val = base * 1.1 * np.exp(rng.normal(0, 0.02, n))
    s = _steps(n, 1)
    lr = np.where(t > 0.75, 1e-3, np.where(t > 0.5, 1e-2, 1e-1))
    return {"loss": (s, loss), "val_loss": (s, val), "lr": (s, lr)}


def restarts(rng: np.random.Generator) -> Curves:
    """Warm restarts lift the loss a little and bring it below where it was."""
    n = int(rng.integers(120, 1500))
    t = np.linspace(0, 1, n)
    phase = (t * int(rng.integers(2, 5))) % 1.0
    lr = 0.5 * (1 + np.cos(np.pi * phase))
    base = 0.4 + 2.0 * np.exp(-t * 12) + rng.uniform(0.05, 0.2) * lr - 0.05 * t
    loss = base * np.exp(rng.normal(0, 0.04, n))
    s = _steps(n, 1)
    return {"loss": (s, loss), "learning_rate": (s, 0.1 * lr)}


def noisy(rng: np.random.Generator) -> Curves:
    """Noise that swamps the trend: tiny batches, heavy tails."""
    n = int(rng.integers(300, 5000))
    t = np.linspace(0, 1, n)
    base = _power(t, 1.0, 0.35, 6.0)
    loss = base * np.exp(rng.normal(0, 0.5, n) + rng.standard_t(4, n) * 0.1)
    return {"loss": (_steps(n, int(rng.choice([1, 50]))), loss * _scale(rng))}


def recovered_spikes(rng: np.random.Generator) -> Curves:
    """A pretraining curve with a few single bad batches."""
    curves = pretraining(rng)
    s, v = curves["train_loss"]
    v = v.copy()
    for i in rng.integers(len(v) // 3, len(v) - 5, size=2):
        v[i] *= rng.uniform(1.3, 2.5)
    return {**curves, "train_loss": (s, v)}


def log_density(rng: np.random.Generator) -> Curves:
    """A negative log-density that crosses zero and ends negative."""
    n = int(rng.integers(60, 1500))
    t = np.linspace(0, 1, n)
    base = 3.0 - 5.0 * (1 - np.exp(-t * rng.uniform(6, 20)))
    loss = base + rng.normal(0, 0.15, n)
    at = np.unique(np.linspace(0, n - 1, int(rng.integers(10, 40))).astype(int))
    return {
        "train_nll": (_steps(n, 1), loss),
        "val_nll": (_steps(n, 1)[at], base[at] + 0.1 + rng.normal(0, 0.03, len(at))),
    }


def reweighted(rng: np.random.Generator) -> Curves:
    """A detection loss that rises 20-fold while its terms are re-weighted during warmup, then falls for good."""
    n = int(rng.integers(200, 1500))
    t = np.linspace(0, 1, n)
    ramp = np.clip(t / 0.05, 0, 1)
    base = (0.05 + 0.95 * ramp) * _power(t, 3.0, 0.8, 15.0)
    return {"total_loss": (_steps(n, 20), base * np.exp(rng.normal(0, 0.08, n)))}


# sick


def exploding_nan(rng: np.random.Generator) -> Curves:
    """Rises and ends in NaN."""
    curves = pretraining(rng)
    s, v = curves["train_loss"]
    v = v.copy()
    i = int(len(v) * rng.uniform(0.2, 0.9))
    width = max(2, min(10, i // 4))
    v[i - width : i] *= np.exp(np.linspace(0.2, 3, width))
    v[i:] = np.nan
    return {"train_loss": (s, v)}


def diverging(rng: np.random.Generator) -> Curves:
    """Falls, turns, and rises above where it started."""
    n = int(rng.integers(60, 2000))
    t = np.linspace(0, 1, n)
    turn = rng.uniform(0.2, 0.7)
    base = _power(t, 3.0, 1.0, 20.0) * np.exp(np.clip(t - turn, 0, None) / (1 - turn) * rng.uniform(1.5, 5))
    loss = base * np.exp(rng.normal(0, 0.05, n))
    val = base * 1.05 * np.exp(rng.normal(0, 0.02, n))
    s, c = _steps(n, 1), _scale(rng)
    return {"loss": (s, loss * c), "val_loss": (s[::10], (val * c)[::10])}


def drifting_up(rng: np.random.Generator) -> Curves:
    """A mild divergence: turns and rises by a sixth or more, for good."""
    n = int(rng.integers(90, 1000))
    t = np.linspace(0, 1, n)
    base = 0.14 * (1 + 0.1 * np.exp(-t * 20) + rng.uniform(0.2, 0.5) * np.clip(t - 0.2, 0, None))
    return {"loss": (_steps(n, 20), base * np.exp(rng.normal(0, rng.uniform(0.02, 0.05), n)))}


def flat(rng: np.random.Generator) -> Curves:
    """Never falls."""
    n = int(rng.integers(10, 1500))
    level = _scale(rng)
    s = _steps(n, int(rng.choice([1, 10])))
    loss = level * np.exp(rng.normal(0, rng.uniform(0.002, 0.06), n))
    out: Curves = {"loss": (s, loss)}
    if rng.random() < 0.5 and n < 200:
        out["val_loss"] = (s, level * 1.1 * np.exp(rng.normal(0, 0.003, n)))
    return out


def fell_once(rng: np.random.Generator) -> Curves:
    """Falls by a few percent in the first steps and sits still for the rest."""
    n = int(rng.integers(40, 1500))
    t = np.linspace(0, 1, n)
    loss = 9.65 + 0.4 * np.exp(-t * n / 2) + rng.normal(0, 0.08, n)
    return {"train/CrossEntropyLoss": (_steps(n, 10), loss)}


def overfitted(rng: np.random.Generator) -> Curves:
    """Validation turns at a quarter to two thirds of the run and rises; training falls on."""
    n = int(rng.integers(20, 200))
    t = np.linspace(0, 1, n)
    turn = rng.uniform(0.2, 0.6)
    train = np.exp(-t * rng.uniform(2, 5)) * np.exp(rng.normal(0, 0.02, n))
    rise = rng.uniform(0.15, 1.0)
    val = 0.45 + 0.55 * np.exp(-t / turn * 4) + rise * np.clip(t - turn, 0, None) ** 1.2
    val = val * np.exp(rng.normal(0, rng.uniform(0.003, 0.02), n))
    s, c = _steps(n, 1), _scale(rng)
    return {"loss": (s, train * c), "val_loss": (s, val * c)}


def oscillating(rng: np.random.Generator) -> Curves:
    """The seeds' fourth pattern: both losses swing without settling."""
    n = int(rng.integers(50, 150))
    e = np.arange(1, n + 1)
    swing = np.sin(rng.uniform(0.4, 0.9) * e) * np.exp(-0.6 * e / n)
    train = 1.0 + 0.5 * swing + rng.normal(0, 0.05, n)
    val = 1.1 + 0.6 * np.sin(0.5 * e + 0.3) * np.exp(-0.6 * e / n) + rng.normal(0, 0.07, n)
    return {"loss": (e, train), "val_loss": (e, val)}


def crawling(rng: np.random.Generator) -> Curves:
    """A straight, shallow descent: the learning rate is far too low."""
    n = int(rng.integers(40, 1500))
    t = np.linspace(0, 1, n)
    fall = rng.uniform(0.05, 0.25)
    loss = 2.3 * (1 - fall * t) * np.exp(rng.normal(0, fall / 10, n))
    return {"loss": (_steps(n, 1), loss * _scale(rng))}


def big_spikes(rng: np.random.Generator) -> Curves:
    """Two jumps back to the start that take long to recover."""
    n = int(rng.integers(80, 400))
    t = np.linspace(0, 1, n)
    base = 0.3 + 0.5 * np.exp(-t * 15)
    for at in (rng.uniform(0.25, 0.4), rng.uniform(0.5, 0.65)):
        base = base + np.where(t > at, rng.uniform(0.4, 0.6) * np.exp(-(t - at) * 25), 0)
    return {"train/loss": (_steps(n, 4), base * np.exp(rng.normal(0, 0.005, n)))}


HEALTHY: tuple[Family, ...] = (
    *(pretraining, epochs, fine_tuning, level_tail, step_schedule, restarts, noisy),
    *(recovered_spikes, log_density, reweighted),
)
# family -> codes of which any is right
SICK: dict[Family, tuple[str, ...]] = {
    exploding_nan: ("LD101",),
    diverging: ("LD102",),
    drifting_up: ("LD102",),
    flat: ("LD201",),
    fell_once: ("LD201", "LD204"),
    overfitted: ("LD301",),
    oscillating: ("LD104",),
    crawling: ("LD203",),
    big_spikes: ("LD103",),
}
