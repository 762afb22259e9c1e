from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from lossdoctor.lab.experiments.trained.data import digits
from lossdoctor.lab.experiments.trained.initialisation import initialise, spreads
from lossdoctor.lab.experiments.trained.models import mlp
from lossdoctor.lab.experiments.trained.training import seeded
from tests.lab.experiments.trained.conftest import Runner
from tests.lab.experiments.trained.test_patterns import codes


def test_raw_inputs_explode_and_normalised_ones_are_learned(outcome: Runner) -> None:
    result = outcome("normalisation")
    n, runs = result.numbers, list(result.runs.values())
    assert math.isnan(n["raw at the same rate: final validation loss"])
    assert n["raw at a rate it stands: final validation loss"] > 5 * n["always the mean price"]
    assert n["normalised: final validation loss"] == pytest.approx(0.04, abs=0.02)
    assert n["raw: critical rate"] < 1e-7
    assert n["normalised: critical rate"] > 0.05
    assert n["raw: condition number"] > 1e7
    assert n["normalised: condition number"] < 100
    assert codes(runs[0])[0] == "LD101"
    assert runs[2].diagnose().status == "healthy"


def test_a_start_that_keeps_the_spread_trains(outcome: Runner) -> None:
    result = outcome("initialisation")
    n = result.numbers
    for dead in ("zero", "too small"):
        assert n[f"{dead}: final training loss"] == pytest.approx(math.log(10), abs=0.1)
        assert "LD202" in codes(result.runs[dead])
    assert not math.isfinite(n["too large: final training loss"])
    assert codes(result.runs["too large"])[0] == "LD101"
    assert n["Xavier: final training loss"] < 1.7
    assert n["He: final training loss"] < 1.7
    assert result.runs["He"].diagnose().status == "healthy"


def test_the_spread_through_relu_layers_is_as_computed_on_paper() -> None:
    """He et al. 2015: a relu layer multiplies the second moment of its input by n var(w) / 2."""
    data = digits(256, 10, seed=1)
    for how, factor in (("He", 1.0), ("Xavier", 1 / math.sqrt(2))):
        ratios = []
        for seed in range(8):
            with seeded(seed):
                model = mlp([117, *[256] * 8, 10])
                initialise(model, how)
                forward, _ = spreads(model, data)
            ratios.append((forward[7] / forward[0]) ** (1 / 7))
        assert float(np.exp(np.mean(np.log(ratios)))) == pytest.approx(factor, rel=0.1), how


def test_zero_weights_pass_nothing_on() -> None:
    model = mlp([117, 16, 16, 10])
    initialise(model, "zero")
    forward, backward = spreads(model, digits(64, 10))
    assert (forward == 0).all()
    assert (backward == 0).all()


def warmed(outcome: Runner, seed: int) -> None:
    n = outcome("warmup", seed=seed).numbers
    assert n["without warmup: final validation loss"] == pytest.approx(n["entropy of the letters"], abs=0.1)
    assert n["with warmup: final validation loss"] < n["entropy of the letters"] - 0.5
    assert n["norms first, without warmup: final validation loss"] < n["entropy of the letters"] - 1


@pytest.mark.slow
def test_warmup_decides(outcome: Runner) -> None:
    warmed(outcome, 0)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_warmup_decides_from_other_seeds(outcome: Runner, seed: int) -> None:
    warmed(outcome, seed)


def clipping(outcome: Runner, seed: int) -> None:
    result = outcome("gradient_clipping", seed=seed)
    n = result.numbers
    assert n["clipped: final validation loss"] < 0.7 * n["no clipping: final validation loss"]
    assert n["clipped: final validation loss"] < 0.11 < n["no clipping: final validation loss"]
    assert n["no clipping: largest over median gradient norm"] > 20
    assert 0 < n["clipped: share of steps above the limit"] < 0.5


def test_clipping_lets_the_recurrent_net_learn(outcome: Runner) -> None:
    clipping(outcome, 0)
    result = outcome("gradient_clipping", seed=0)
    n = result.numbers
    assert n["larger gain, no clipping: steps until the loss is no number"] < 50
    assert n["larger gain, clipped: final validation loss"] < 0.17
    exploded = next(run for name, run in result.runs.items() if name.startswith("gain") and "no" in name)
    assert codes(exploded)[0] == "LD101"


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_clipping_lets_the_recurrent_net_learn_from_other_seeds(outcome: Runner, seed: int) -> None:
    clipping(outcome, seed)


def test_float16_and_its_loss_scale(outcome: Runner) -> None:
    result = outcome("fp16_overflow")
    n = result.numbers
    assert n["share of gradients that vanish in float16"] > 0.9
    assert n["float16: final loss"] > 0.9
    assert n["float32: final loss"] < 0.05
    assert n["dynamic scale: final loss"] < 0.05
    assert 1 <= n["dynamic scale: steps skipped"] < 20
    assert n["fixed scale: first step that is no number"] == 2
    assert n["naive softmax: first step that is no number"] > 10
    runs = result.runs
    assert codes(runs["float32"])[:1] != ["LD101"]
    assert runs["float16, dynamic scale"].diagnose().status == "healthy"
    assert set(codes(runs["float16"])) & {"LD202", "LD106", "LD201"}
    for name in ("float16, fixed scale 2^40", "float16, dynamic scale, naive softmax"):
        assert codes(runs[name])[0] == "LD101"
    # The dynamic scale halves exactly where a step was skipped.
    scale, skipped = (runs["float16, dynamic scale"][m].values for m in ("loss_scale", "skipped"))
    halved = np.flatnonzero(scale[1:] == scale[:-1] / 2)
    assert halved.tolist() == np.flatnonzero(skipped[:-1]).tolist()


def test_float16_overflows_where_the_text_says() -> None:
    z = torch.tensor([11.0, 11.1], dtype=torch.float16)
    assert torch.isfinite(z.exp()).tolist() == [True, False]
