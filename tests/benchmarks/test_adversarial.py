"""The generator and its discriminator: what is logged, what is true, what goes wrong. Needs torch."""

from __future__ import annotations

import math

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("sklearn")

import torch
from benchmarks.clinic import faults, remedies
from benchmarks.clinic.adversarial import sliced_distance
from benchmarks.clinic.config import Config
from benchmarks.clinic.train import Run, run
from benchmarks.clinic.truth import assess

GAN = Config("crescents_gan", lr=5e-3, steps=60, batch_size=64, val_every=-1, log_grad_norm=True)


def sick(name: str, base: Config = GAN) -> Run:
    return run(faults.get(name).configure(base, np.random.default_rng(1)))


def test_the_distance_of_a_shifted_cloud_is_the_mean_of_the_shift_over_directions() -> None:
    cloud = torch.randn(500, 2, generator=torch.Generator().manual_seed(0))
    assert sliced_distance(cloud, cloud) == 0.0
    moved = sliced_distance(cloud, cloud + torch.tensor([1.0, 0.0]))
    assert moved == pytest.approx(2.0 / math.pi, abs=0.01)  # the mean of |cos|
    assert sliced_distance(cloud, 3.0 * cloud) > moved


def test_both_losses_are_logged_with_what_else_was_asked_for() -> None:
    made = run(GAN)
    assert [row["step"] for row in made.rows] == list(range(1, 61))
    assert all(set(row) == {"step", "d_loss", "g_loss", "lr", "grad_norm"} for row in made.rows)
    assert made.rows[0]["d_loss"] == pytest.approx(math.log(2), abs=0.15)
    assert run(GAN).rows == made.rows
    assert set(made.history.curves) >= {"d_loss", "g_loss"}


def test_it_comes_nearer_to_the_data() -> None:
    made = run(GAN.change(steps=300))
    assert assess(made).final < 0.5 * made.initial


def test_a_nan_spoils_both_losses_and_skipping_the_batch_saves_them() -> None:
    made = sick("gan_nan")
    assert made.onset is not None
    assert math.isfinite(made.rows[made.onset - 2]["d_loss"])
    assert math.isnan(made.rows[-1]["d_loss"])
    assert math.isnan(made.rows[-1]["g_loss"])
    assert assess(made).flaw == "nonfinite"
    saved = remedies.treated(made.config, "restore_checkpoint")
    assert saved is not None
    assert math.isfinite(run(saved).truth[-1]["test"])


def test_a_lazy_discriminator_leaves_the_points_where_they_are_not_wanted() -> None:
    base = GAN.change(steps=300)
    assert assess(sick("gan_mode_collapse", base)).final > 1.5 * assess(run(base)).final
