from __future__ import annotations

import numpy as np
import pytest

from lossdoctor.lab.experiments.trained.figures import spread
from tests.lab.experiments.trained.conftest import Runner


def test_seeds_scatter_the_result(outcome: Runner) -> None:
    result = outcome("seed_variance", seeds=5, steps=200)
    n = result.numbers
    assert len(result.runs) == 5
    assert n["accuracy: SD"] > 0.005
    assert n["accuracy: best minus worst"] >= 1.5 * n["accuracy: SD"]
    for kind in ("both change", "only the start", "only the order"):
        assert n[f"{kind}: SD of the validation loss"] > 0.005, kind
    finals = np.array([run["val_loss"].values for run in result.runs.values()])
    line, band = result.panels[0].lines[0], result.panels[0].bands[0]
    assert np.allclose(line.y, finals.mean(axis=0))
    assert np.allclose(band.high - band.low, 2 * finals.std(axis=0, ddof=1))
    again, _ = spread("both change", result.runs.values(), "val_loss")
    assert np.allclose(again.y, line.y)


def sharp(outcome: Runner, seed: int) -> None:
    n = outcome("sharp_flat", seed=seed).numbers
    ends = [n[f"{name}: λmax at the end"] for name in ("batch 4", "batch 16", "batch 64", "all 256")]
    assert ends[0] < 0.75 * ends[-1]
    assert ends[0] < ends[1] < ends[-1]
    # Full batches end at the edge of stability (Cohen et al. 2021), whatever the start.
    assert ends[-1] == pytest.approx(n["2/lr"], rel=0.12)
    assert n["λmax at the start"] < n["2/lr"]


def test_small_batches_stay_flat_and_full_batches_climb_to_the_edge(outcome: Runner) -> None:
    sharp(outcome, 0)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_small_batches_stay_flat_from_other_seeds(outcome: Runner, seed: int) -> None:
    sharp(outcome, seed)


def growing(outcome: Runner, seed: int) -> None:
    n = outcome("growing_batch", seed=seed).numbers
    constant, decayed, grown = (n[f"{r}: final validation loss"] for r in ("constant", "rate decays", "batch grows"))
    assert decayed < constant - 0.01
    assert grown < constant - 0.01
    assert abs(grown - decayed) < 0.4 * (constant - decayed)
    # A third at b, a third at 4 b, a third at 16 b: (1 + 1/4 + 1/16) / 3 of the updates.
    assert 1 - n["updates saved by the growing batch"] == pytest.approx((1 + 1 / 4 + 1 / 16) / 3, rel=0.01)


def test_a_growing_batch_does_what_a_decayed_rate_does(outcome: Runner) -> None:
    growing(outcome, 0)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_a_growing_batch_does_what_a_decayed_rate_does_from_other_seeds(outcome: Runner, seed: int) -> None:
    growing(outcome, seed)
