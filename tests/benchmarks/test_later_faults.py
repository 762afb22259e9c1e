"""The later faults do what they claim, and the remedies that mean them take them away. Needs torch."""

from __future__ import annotations

import math

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("sklearn")

import torch
from benchmarks.clinic import faults, remedies, tasks
from benchmarks.clinic.config import Config
from benchmarks.clinic.train import Loop, Run, run
from benchmarks.clinic.truth import assess, compare

DIGITS = Config("digits_mlp", lr=2e-3, steps=120, val_every=15, log_grad_norm=True)
PLAIN = DIGITS.change(optimizer="momentum", lr=0.05)


def sick(name: str, base: Config = DIGITS, **params: float) -> Config:
    made = faults.get(name).configure(base, np.random.default_rng(1))
    return made.change(params=tuple(sorted({**dict(made.params), **params}.items())))


def losses(made: Run) -> list[float]:
    return [row["loss"] for row in made.rows if "loss" in row]


def test_an_overflow_in_half_precision_spoils_the_weights_or_has_every_step_skipped() -> None:
    lost = run(sick("fp16_overflow", doublings=29.0, skips=0.0))
    assert lost.onset is not None
    assert math.isfinite(losses(lost)[lost.onset - 1])
    assert math.isnan(losses(lost)[lost.onset])
    stuck = run(sick("fp16_overflow", doublings=29.0, skips=1.0))
    assert stuck.onset == lost.onset
    norms = [row["grad_norm"] for row in stuck.rows]
    assert all(math.isinf(n) for n in norms[stuck.onset - 1 :])
    held_out = [row["test"] for row in stuck.truth if row["step"] > stuck.onset]
    assert np.ptp(held_out) < 1e-6
    cured = remedies.treated(lost.config, "change_precision")
    assert cured is not None
    assert run(cured).truth[-1]["test"] < held_out[-1]
    assert remedies.treated(DIGITS, "change_precision") is None


def test_masked_labels_leave_a_loss_of_exactly_nothing() -> None:
    made = run(sick("masked_labels", at=50.0, empty_mean=0.0))
    assert made.onset == 50
    assert losses(made)[48] > 0.0
    assert set(losses(made)[49:]) == {0.0}
    assert all(math.isnan(v) for v in losses(run(sick("masked_labels", at=50.0, empty_mean=1.0)))[49:])


def test_a_leak_is_too_good_in_the_log_and_bad_where_it_is_missing() -> None:
    made, twin = run(sick("label_leak", size=2.0)), run(DIGITS)
    shown = [row["val_loss"] for row in made.rows if "val_loss" in row][-1]
    assert shown < 0.5 * twin.truth[-1]["test"]
    assert made.truth[-1]["test"] > 2.0 * twin.truth[-1]["test"]
    assert compare(made, twin)["outcome"] == "worse"


def test_below_a_detached_layer_nothing_moves() -> None:
    loop = Loop(sick("detached"))
    before = [p.clone() for p in loop.task.model.parameters()]
    loop.run()
    moved = [not torch.equal(a, b) for a, b in zip(before, loop.task.model.parameters(), strict=True)]
    assert moved == [False] * (len(moved) - 2) + [True, True]


def test_a_summed_loss_is_the_mean_times_the_batch_and_another_reduction_cures_it() -> None:
    assert losses(run(sick("wrong_reduction", PLAIN)))[0] == pytest.approx(64 * losses(run(PLAIN))[0], rel=1e-5)
    cured = remedies.treated(sick("wrong_reduction", PLAIN), "change_loss")
    assert cured is not None
    assert run(cured).truth[-1]["test"] == pytest.approx(run(PLAIN).truth[-1]["test"], rel=0.05)


def test_stale_statistics_show_in_evaluation_only() -> None:
    base = Config("digits_cnn", lr=3e-3, steps=60, val_every=20)
    made = run(sick("batchnorm_stale", base, momentum=1e-5))
    assert np.mean(losses(made)[-10:]) < 0.6 * made.rows[-1]["val_loss"]


def test_after_the_first_evaluation_the_mode_stays_wrong() -> None:
    loop = Loop(sick("trained_in_eval_mode"))
    assert loop.run().onset == 15
    assert not loop.task.model.training
    assert Loop(DIGITS).run().onset is None


def test_validation_in_training_mode_is_worse_than_what_is_true() -> None:
    made = run(sick("validated_in_train_mode"))
    assert made.rows[-1]["val_loss"] > 1.2 * made.truth[-1]["test"]


def test_a_restarted_sampler_brings_the_same_batches_and_the_loss_falls() -> None:
    base = DIGITS.change(steps=300, val_every=30)
    made, twin = run(sick("sampler_restart", base, at=100.0, batches=1.0)), run(base)
    assert made.onset == 101
    assert losses(made)[:100] == losses(twin)[:100]
    assert np.mean(losses(made)[-20:]) < 0.5 * np.mean(losses(twin)[-20:])
    assert made.truth[-1]["test"] > 1.2 * twin.truth[-1]["test"]
    cured = remedies.treated(made.config, "shuffle_data")
    assert cured is not None
    assert run(cured).truth[-1]["test"] < 1.1 * twin.truth[-1]["test"]


def test_clean_data_puts_the_mean_where_zeros_stood_for_gaps() -> None:
    base = Config("friedman", lr=1e-3, steps=20)
    filled = sick("missing_as_zero", base, share=0.4)
    x = Loop(filled).task.splits.train[0]
    assert 0.35 < float((x == x.min()).float().mean()) < 0.45
    treated = remedies.treated(filled, "clean_data")
    assert treated is not None
    imputed = Loop(treated).task.splits.train[0]
    assert float(imputed.min()) > float(x.min())
    assert float(imputed.mean().abs()) < 0.05


def test_an_imbalanced_training_part_is_nearly_of_one_class_and_as_long() -> None:
    whole, uneven = Loop(DIGITS).task.splits, Loop(sick("class_imbalance", keep=0.05)).task.splits
    counts = torch.bincount(uneven.train[1], minlength=10) / len(uneven.train[1])
    assert float(counts.max()) > 0.5
    assert len(uneven.train[1]) == len(whole.train[1])
    assert torch.equal(uneven.val[1], whole.val[1])
    more = remedies.treated(sick("class_imbalance"), "get_more_data")
    assert more is not None
    assert torch.equal(Loop(more).task.splits.train[1], whole.train[1])


def test_a_large_start_is_seen_in_the_first_loss_and_fresh_weights_mend_it() -> None:
    assert losses(run(sick("large_init", factor=10.0)))[0] > 5.0 * math.log(10)
    treated = remedies.treated(sick("large_init", factor=10.0), "fix_initialization")
    assert treated is not None
    loop = Loop(treated)
    assert loop.held_out_loss() < 2.0 * math.log(10)


def test_too_much_regularization_is_cured_by_less() -> None:
    base = DIGITS.change(steps=300)
    strong = sick("over_regularized", base)
    less = remedies.treated(strong, "reduce_regularization")
    assert less is not None
    assert run(less).truth[-1]["test"] < 0.7 * run(strong).truth[-1]["test"]


def test_a_catapult_leaps_at_the_start_and_ends_well() -> None:
    base = PLAIN.change(steps=300)
    made = run(sick("catapult", base))
    assert max(losses(made)[:30]) > 1.3 * losses(made)[0]
    assert assess(made).final < assess(run(base)).final + 0.15
    assert not faults.get("catapult").alarm


@pytest.mark.parametrize(
    ("name", "action"), [("momentum_high", "adjust_momentum"), ("clipping_low", "change_optimizer")]
)
def test_plain_optimizers_have_faults_of_their_own(name: str, action: str) -> None:
    assert not faults.get(name).fits(DIGITS)
    assert faults.get(name).fits(PLAIN)
    base = PLAIN.change(steps=200)
    made = sick(name, base)
    treated = remedies.treated(made, action)
    assert treated is not None
    assert run(treated).truth[-1]["test"] < run(made).truth[-1]["test"]


def test_what_a_norm_takes_away_does_not_fit() -> None:
    base = Config("marks_batchnorm", val_every=10)
    unfit = [
        n for n in ("vanishing_gradients", "dead_init", "unscaled_inputs", "large_init") if not faults.get(n).fits(base)
    ]
    assert len(unfit) == 4
    assert faults.get("batchnorm_stale").fits(base)
    assert not faults.get("class_imbalance").fits(base)  # marks are no classes
    assert not faults.get("nan_in_data").fits(Config("letters_window"))  # codes are no numbers
    assert tasks.SPECS["letters_window"].codes
