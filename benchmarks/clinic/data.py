"""The data of the tasks: what scikit-learn and the standard library carry with them, split by a seed.

Nothing is downloaded. Every split has a third part, ``test``, that no run logs: it says what is true of a run
(did generalisation get worse?) without looking at the curves that are judged.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Pair = tuple[Tensor, Tensor]


@dataclass
class Splits:
    """Inputs and targets of the three parts. Mutable: faults of the data are injected here."""

    train: Pair
    val: Pair
    test: Pair

    @property
    def parts(self) -> dict[str, Pair]:
        return {"train": self.train, "val": self.val, "test": self.test}


def split(x: Tensor, y: Tensor, seed: int, sizes: tuple[int, int]) -> Splits:
    """Shuffle and cut: ``sizes`` for train and val, the rest for test."""
    order = torch.from_numpy(np.random.default_rng([seed, 11]).permutation(len(x)))
    a, b, c = order[: sizes[0]], order[sizes[0] : sum(sizes)], order[sum(sizes) :]
    return Splits((x[a], y[a]), (x[b], y[b]), (x[c], y[c]))


def standardised(values: NDArray[np.float64]) -> Tensor:
    """Columns of mean 0 and spread 1, in single precision."""
    scaled = (values - values.mean(axis=0)) / (values.std(axis=0) + 1e-9)
    return torch.from_numpy(scaled.astype(np.float32))


@lru_cache(maxsize=1)
def digits_with_classes() -> Pair:
    """All 1,797 digits, flat pixels in 0..1, with their classes."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    return torch.from_numpy((bunch.data / 16.0).astype(np.float32)), torch.from_numpy(bunch.target.astype(np.int64))


def digits(seed: int) -> Splits:
    """1,797 digits of 8×8 pixels in 0..1, flat, with their class."""
    return split(*digits_with_classes(), seed, (1000, 400))


def digit_images(seed: int) -> Splits:
    """The same digits as 1×8×8 images."""
    x, y = digits_with_classes()
    return split(x.reshape(-1, 1, 8, 8), y, seed, (1000, 400))


def digit_copies(seed: int) -> Splits:
    """Digits as their own targets."""
    x, _ = digits_with_classes()
    return split(x, x.clone(), seed, (1000, 400))


def digit_halves(seed: int) -> Splits:
    """The upper half of a digit, to predict the lower half (standardised)."""
    x, _ = digits_with_classes()
    low = x[:, 32:]
    return split(x[:, :32].clone(), (low - low.mean()) / low.std(), seed, (1000, 400))


def cancer(seed: int) -> Splits:
    """569 tumours with 30 standardised features; benign or malignant."""
    from sklearn.datasets import load_breast_cancer

    bunch = load_breast_cancer()
    return split(standardised(bunch.data), torch.from_numpy(bunch.target.astype(np.int64)), seed, (300, 135))


def diabetes(seed: int) -> Splits:
    """442 patients with 10 standardised features; the standardised progression of the disease."""
    from sklearn.datasets import load_diabetes

    bunch = load_diabetes()
    return split(standardised(bunch.data), standardised(bunch.target[:, None]), seed, (240, 100))


def friedman(seed: int) -> Splits:
    """Friedman's first function of 10 features with noise: a regression whose noise floor is known."""
    from sklearn.datasets import make_friedman1

    x, y = make_friedman1(n_samples=3000, n_features=10, noise=1.0, random_state=1000 + seed)
    return split(standardised(x), standardised(y[:, None]), seed, (2000, 500))


def moons(seed: int) -> Splits:
    """Two half moons in the plane, drawn small, so that a good density has a negative loss. Targets are unused."""
    from sklearn.datasets import make_moons

    x, _ = make_moons(n_samples=4000, noise=0.06, random_state=1000 + seed)
    points = standardised(x) / 6.0
    return split(points, torch.zeros(len(points)), seed, (2000, 1000))


@lru_cache(maxsize=1)
def text_codes() -> NDArray[np.int64]:
    """English prose about Python, as it comes with Python, in codes of the 60 commonest characters."""
    try:
        from pydoc_data.topics import topics

        text = "\n".join(topics[k] for k in sorted(topics))
    except ImportError:  # some distributions leave the topics out
        import argparse
        import inspect
        import subprocess

        text = inspect.getsource(argparse) + inspect.getsource(subprocess)
    text = " ".join(text.lower().split())[:240_000]
    letters, counts = np.unique(np.array(list(text)), return_counts=True)
    common = sorted(letters[np.argsort(-counts, kind="stable")[:59]])
    code = {c: i for i, c in enumerate(common)}
    return np.array([code.get(c, 59) for c in text], dtype=np.int64)


def characters(seed: int, length: int = 32) -> Splits:
    """Windows of text and the same windows one character later; 60 codes."""
    codes = text_codes()
    offset = seed % 7
    usable = (len(codes) - 1 - offset) // length * length
    x = torch.from_numpy(codes[offset : offset + usable].reshape(-1, length))
    y = torch.from_numpy(codes[offset + 1 : offset + 1 + usable].reshape(-1, length))
    return split(x, y, seed, (int(0.9 * len(x)), 300))
