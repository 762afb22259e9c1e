"""The data of the other tasks; see :mod:`benchmarks.clinic.data` for what a split is. Nothing is downloaded."""

from __future__ import annotations

import numpy as np
import torch

from benchmarks.clinic.data import Pair, Splits, digits_with_classes, split, standardised, text_codes


def wine(seed: int) -> Splits:
    """178 wines with 13 standardised features, each measured six times with errors; three growers."""
    from sklearn.datasets import load_wine

    bunch = load_wine()
    measured = np.repeat(bunch.data / bunch.data.std(axis=0), 6, axis=0)
    measured = measured + np.random.default_rng([seed, 13]).normal(0.0, 0.7, measured.shape)
    return split(
        standardised(measured), torch.from_numpy(np.repeat(bunch.target, 6).astype(np.int64)), seed, (600, 200)
    )


def quantiles(seed: int) -> Splits:
    """Four shells of a Gaussian in four dimensions, with 5 % of the classes wrong: no line tells them apart."""
    from sklearn.datasets import make_gaussian_quantiles

    x, y = make_gaussian_quantiles(n_samples=4500, n_features=4, n_classes=4, random_state=1000 + seed)
    rng = np.random.default_rng([seed, 17])
    y = np.where(rng.random(len(y)) < 0.05, rng.integers(0, 4, len(y)), y)
    return split(standardised(x), torch.from_numpy(y.astype(np.int64)), seed, (3000, 600))


def swiss_roll(seed: int) -> Splits:
    """Points of a rolled sheet in three dimensions; how far along the roll they lie, with an error (standardised)."""
    from sklearn.datasets import make_swiss_roll

    x, along = make_swiss_roll(n_samples=3000, noise=0.8, random_state=1000 + seed)
    noisy = along + np.random.default_rng([seed, 41]).normal(0.0, 0.5, len(along))
    return split(standardised(x), standardised(noisy[:, None]), seed, (1800, 500))


def friedman2(seed: int) -> Splits:
    """Friedman's second function, of four features of very different scales (standardised), with noise."""
    from sklearn.datasets import make_friedman2

    x, y = make_friedman2(n_samples=3000, noise=125.0, random_state=1000 + seed)
    return split(standardised(x), standardised(y[:, None]), seed, (1800, 500))


def digit_tags(seed: int) -> Splits:
    """Digits with four marks that may hold at once: odd, at least five, with a loop, prime."""
    x, y = digits_with_classes()
    marks = [y % 2 == 1, y >= 5, torch.isin(y, torch.tensor([0, 6, 8, 9])), torch.isin(y, torch.tensor([2, 3, 5, 7]))]
    return split(x, torch.stack(marks, dim=1).float(), seed, (1000, 400))


def noisy_digits(seed: int) -> Splits:
    """Digits under noise, and the clean ones."""
    x, _ = digits_with_classes()
    noise = np.random.default_rng([seed, 19]).normal(0.0, 0.35, tuple(x.shape)).astype(np.float32)
    return split(x + torch.from_numpy(noise), x.clone(), seed, (1000, 400))


def upper_digits(seed: int) -> Splits:
    """The digits from five on, as classes 0 to 4: what a model of the lower ones is fine-tuned on."""
    x, y = digits_with_classes()
    upper = y >= 5
    return split(x[upper], y[upper] - 5, seed, (500, 180))


def lower_digits() -> Pair:
    """The digits up to four, to pretrain on."""
    x, y = digits_with_classes()
    return x[y < 5], y[y < 5]


def seasons(seed: int, length: int = 12) -> Splits:
    """Windows of noisy seasonal series, each of its own period, phase and slope; the value that follows."""
    rng = np.random.default_rng([seed, 29])
    count = 3000
    time = np.arange(length + 1)[None, :]
    period, phase = rng.uniform(5.0, 12.0, (count, 1)), rng.uniform(0.0, 2.0 * np.pi, (count, 1))
    turn = 2.0 * np.pi * time / period + phase
    series = rng.uniform(0.5, 1.5, (count, 1)) * np.sin(turn) + 0.3 * np.sin(2.0 * turn)
    series = series + rng.normal(0.0, 0.05, (count, 1)) * time + rng.normal(0.0, 0.2, (count, length + 1))
    values = torch.from_numpy(series.astype(np.float32))
    return split(values[:, :length].clone(), values[:, length:].clone(), seed, (1800, 500))


def bent(seed: int) -> Splits:
    """Bishop's inverse problem: up to three answers to an input. Drawn small, so that densities pass one."""
    rng = np.random.default_rng([seed, 31])
    answer = rng.uniform(0.0, 1.0, (3000, 1))
    given = answer + 0.3 * np.sin(2.0 * np.pi * answer) + rng.normal(0.0, 0.12, answer.shape)
    y = torch.from_numpy(((answer - 0.5) / 2.0).astype(np.float32))
    return split(standardised(given), y, seed, (1800, 500))


def letters(seed: int, before: int = 5) -> Splits:
    """Five letters of a text and the one that follows them; 60 codes."""
    codes = text_codes()
    starts = np.random.default_rng([seed, 37]).choice(len(codes) - before - 1, 9000, replace=False)
    windows = torch.from_numpy(codes[starts[:, None] + np.arange(before + 1)])
    return split(windows[:, :before].clone(), windows[:, before].clone(), seed, (6500, 1000))


def crescents(seed: int) -> Splits:
    """Two half moons in the plane, standardised. Targets are unused."""
    from sklearn.datasets import make_moons

    x, _ = make_moons(n_samples=4000, noise=0.06, random_state=1000 + seed)
    points = standardised(x)
    return split(points, torch.zeros(len(points)), seed, (2000, 1000))
