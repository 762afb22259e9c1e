"""Small data sets made in code from a seed: nothing is downloaded, and every truth about them is known."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Data:
    """Training and validation examples: first axis examples, then the shape of one.

    Attributes:
        x, y: what is trained on. x_val, y_val: what it is judged on.
        classes: number of classes, None for a regression.
    """

    x: Tensor
    y: Tensor
    x_val: Tensor
    y_val: Tensor
    classes: int | None = None

    def __len__(self) -> int:
        return len(self.x)


def _cut(x: Array, y: NDArray[np.generic], n: int, classes: int | None) -> Data:
    inputs = torch.from_numpy(x.astype(np.float32))
    targets = torch.from_numpy(y.astype(np.int64 if classes else np.float32))
    return Data(inputs[:n], targets[:n], inputs[n:], targets[n:], classes)


def spirals(n: int, n_val: int, *, noise: float = 0.08, arms: int = 3, turns: float = 1.0, seed: int = 0) -> Data:
    """Arms of a spiral in the plane, one class each: x (n, 2) within about ±1.2, y the arm.

    >>> d = spirals(90, 30)
    >>> tuple(d.x.shape), d.classes, sorted(set(d.y.tolist()))
    ((90, 2), 3, [0, 1, 2])
    """
    rng = np.random.default_rng([seed, 101])
    total = n + n_val
    arm = rng.permutation(np.arange(total) % arms)
    radius = np.sqrt(rng.uniform(0.01, 1.0, total))
    angle = 2 * np.pi * (turns * radius + arm / arms)
    points = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
    return _cut(points + rng.normal(0.0, noise, points.shape), arm, n, arms)


def teacher(n: int, n_val: int, *, dim: int = 8, noise: float = 0.1, seed: int = 0) -> Data:
    """A regression whose target is a random network of 16 tanh units, scaled to variance 1, plus noise.

    x (n, dim) standard normal, y (n, 1). The best possible mean squared error is ``noise ** 2``.
    """
    rng = np.random.default_rng([seed, 103])
    x = rng.normal(size=(n + n_val, dim))
    hidden = np.tanh(x @ rng.normal(0.0, 2.0 / np.sqrt(dim), (dim, 16)))
    clean = hidden @ rng.normal(size=(16, 1))
    clean = (clean - clean.mean()) / clean.std()
    return _cut(x, clean + rng.normal(0.0, noise, clean.shape), n, None)


def houses(n: int, n_val: int, *, seed: int = 0) -> Data:
    """Prices of houses in 100,000, of size (sq ft), rooms, age (years) and distance (m): scales from 1 to 10,000.

    x (n, 4) raw, y (n, 1). The noise of the price is 0.2, so that the best mean squared error is 0.04.
    """
    rng = np.random.default_rng([seed, 104])
    total = n + n_val
    size = rng.uniform(600, 3500, total)
    rooms = np.clip(np.round(size / 500 + rng.normal(0, 0.8, total)), 1, 9)
    age = rng.uniform(0, 80, total)
    distance = rng.uniform(200, 20_000, total)
    price = 0.5 + 1.1 * size / 1000 + 0.15 * rooms - 0.01 * age - 0.7 * np.log10(distance / 1000)
    price = price + rng.normal(0.0, 0.2, total)
    return _cut(np.stack([size, rooms, age, distance], axis=1), price[:, None], n, None)


def standardised(data: Data) -> Data:
    """The same data with every input column at mean 0 and standard deviation 1, as measured on the training part."""
    mean, std = data.x.mean(dim=0), data.x.std(dim=0)
    return Data((data.x - mean) / std, data.y, (data.x_val - mean) / std, data.y_val, data.classes)


# Which of the seven segments (top, upper left, upper right, middle, lower left, lower right, bottom) a digit lights.
_SEGMENTS = (
    "1110111",
    "0010010",
    "1011101",
    "1011011",
    "0111010",
    "1101011",
    "1101111",
    "1010010",
    "1111111",
    "1111011",
)
_PLACES = (
    (slice(0, 1), slice(0, 5)),
    (slice(0, 5), slice(0, 1)),
    (slice(0, 5), slice(4, 5)),
    (slice(4, 5), slice(0, 5)),
    (slice(4, 9), slice(0, 1)),
    (slice(4, 9), slice(4, 5)),
    (slice(8, 9), slice(0, 5)),
)
CANVAS = (13, 9)


def digits(n: int, n_val: int, *, noise: float = 0.6, seed: int = 0) -> Data:
    """Seven-segment digits somewhere on a canvas of 13 × 9 pixels, under Gaussian pixel noise.

    x (n, 1, 13, 9), y the digit.

    >>> digits(5, 2).x.shape
    torch.Size([5, 1, 13, 9])
    """
    rng = np.random.default_rng([seed, 105])
    total = n + n_val
    label = rng.permutation(np.arange(total) % 10)
    images = np.zeros((total, 1, *CANVAS))
    for image, digit in zip(images[:, 0], label, strict=True):
        top, left = rng.integers(0, 5), rng.integers(0, 5)
        strength = rng.uniform(0.7, 1.3)
        for lit, (rows, columns) in zip(_SEGMENTS[digit], _PLACES, strict=True):
            if lit == "1":
                image[top : top + 9, left : left + 5][rows, columns] = strength
    images += rng.normal(0.0, noise, images.shape)
    return _cut(images - images[:n].mean(), label, n, 10)


def adding(n: int, n_val: int, *, length: int = 30, seed: int = 0) -> Data:
    """The adding problem (Hochreiter & Schmidhuber 1997): sum the two marked numbers of a sequence.

    x (n, length, 2): a number in 0..1 and a mark; y (n, 1). Answering always 1 gives a mean squared error of 1/6.
    """
    rng = np.random.default_rng([seed, 106])
    total = n + n_val
    numbers = rng.uniform(size=(total, length))
    marks = np.zeros((total, length))
    first, second = rng.integers(0, length // 2, total), rng.integers(length // 2, length, total)
    rows = np.arange(total)
    marks[rows, first] = marks[rows, second] = 1.0
    return _cut(np.stack([numbers, marks], axis=2), (numbers * marks).sum(axis=1, keepdims=True), n, None)


_WORDS = {
    "who": ("the doctor", "a hiker", "the model", "a student", "the blind hiker", "one layer", "the optimizer"),
    "does": ("reads", "follows", "forgets", "measures", "descends", "smooths", "clips"),
    "what": ("the loss", "a steep valley", "the gradient", "every step", "a flat minimum", "the noise", "the curve"),
    "how": ("slowly", "at once", "in the fog", "without a map", "again and again", "by half"),
}


@lru_cache(maxsize=2)
def _prose(sentences: int, seed: int) -> str:
    rng = np.random.default_rng([seed, 107])

    def sentence() -> str:
        return " ".join(str(rng.choice(words)) for words in _WORDS.values())

    return ". ".join(sentence() for _ in range(sentences)) + "."


def characters(n: int, n_val: int, *, length: int = 32, seed: int = 0) -> Data:
    """Windows of simple English sentences, and the same windows one character later.

    x (n, length) and y (n, length): codes of the characters; training and validation are different sentences.

    >>> d = characters(4, 2)
    >>> bool((d.x[:, 1:] == d.y[:, :-1]).all())
    True
    """
    windows = n + n_val
    text = _prose(windows * (length + 1) // 24 + 40, seed)
    letters = sorted({c for words in _WORDS.values() for w in words for c in w} | set(". "))
    code = {c: i for i, c in enumerate(letters)}
    codes = np.array([code[c] for c in text], dtype=np.int64)
    pieces = torch.from_numpy(codes[: windows * (length + 1)].reshape(windows, length + 1))
    x, y = pieces[:, :-1].clone(), pieces[:, 1:].clone()
    return Data(x[:n], y[:n], x[n:], y[n:], len(letters))
