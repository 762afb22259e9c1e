"""The data of the further tasks to tune on; see :mod:`benchmarks.clinic.data` for what a split is."""

from __future__ import annotations

import numpy as np
import torch

from benchmarks.clinic.data import Splits, digits_with_classes, split, standardised


def clusters(seed: int) -> Splits:
    """Six classes of two clusters each on the corners of a cube, 20 features, 3 % of the classes wrong."""
    from sklearn.datasets import make_classification

    x, y = make_classification(
        3000, 20, n_informative=8, n_redundant=4, n_classes=6, n_clusters_per_class=2, class_sep=1.4, flip_y=0.03,
        random_state=1000 + seed,
    )  # fmt: skip
    return split(standardised(x), torch.from_numpy(y.astype(np.int64)), seed, (1800, 500))


def rings(seed: int) -> Splits:
    """Two rings in the plane that overlap a little; inner or outer."""
    from sklearn.datasets import make_circles

    x, y = make_circles(n_samples=2600, noise=0.14, factor=0.5, random_state=1000 + seed)
    return split(standardised(x), torch.from_numpy(y[:, None].astype(np.float32)), seed, (1500, 500))


def counts(seed: int) -> Splits:
    """Counts whose logarithm of the rate bends in six features."""
    rng = np.random.default_rng([seed, 43])
    x = rng.normal(size=(3000, 6))
    rate = np.exp(0.6 * np.sin(1.5 * x[:, 0]) + 0.5 * x[:, 1] * x[:, 2] / (1.0 + np.abs(x[:, 2])) + 0.4 * x[:, 3] + 1.0)
    y = rng.poisson(rate)[:, None].astype(np.float32)
    return split(standardised(x), torch.from_numpy(y), seed, (1800, 500))


def spreads(seed: int) -> Splits:
    """A line of values whose spread grows along it, small numbers: densities pass one."""
    rng = np.random.default_rng([seed, 47])
    x = rng.uniform(-2.0, 2.0, (3000, 1))
    y = 0.2 * np.sin(2.0 * x) + (0.02 + 0.04 * (x + 2.0)) * rng.normal(size=x.shape)
    return split(standardised(x), torch.from_numpy(y.astype(np.float32)), seed, (1800, 500))


def wave(seed: int) -> Splits:
    """A wave that quickens over one input, with noise."""
    rng = np.random.default_rng([seed, 53])
    x = rng.uniform(0.0, 1.0, (2400, 1))
    y = np.sin(2.0 * np.pi * (1.0 + 1.5 * x) * x) + 0.15 * rng.normal(size=x.shape)
    return split(standardised(x), torch.from_numpy(y.astype(np.float32)), seed, (1400, 500))


def friedman3(seed: int) -> Splits:
    """Friedman's third function, an angle, with noise of heavy tails."""
    from sklearn.datasets import make_friedman3

    x, y = make_friedman3(n_samples=3000, noise=0.0, random_state=1000 + seed)
    noise = np.random.default_rng([seed, 59]).standard_t(2.5, y.shape) * 0.08
    return split(standardised(x), standardised((y + noise)[:, None]), seed, (1800, 500))


def digit_values(seed: int) -> Splits:
    """Digits and the number that they show, 0 to 9, as it is."""
    x, y = digits_with_classes()
    return split(x, y[:, None].float(), seed, (1000, 400))


def digit_rows(seed: int) -> Splits:
    """Digits as sequences of eight rows."""
    x, y = digits_with_classes()
    return split(x.reshape(-1, 8, 8), y, seed, (1000, 400))


def digit_pairs(seed: int) -> Splits:
    """Two digits side by side: is the second one larger?"""
    x, y = digits_with_classes()
    rng = np.random.default_rng([seed, 61])
    a, b = (torch.from_numpy(rng.integers(0, len(x), 3600)) for _ in range(2))
    return split(torch.cat((x[a], x[b]), dim=1), (y[b] > y[a]).float()[:, None], seed, (2400, 500))
