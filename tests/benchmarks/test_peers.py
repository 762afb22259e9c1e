"""The peers: their documented behaviour on published and hand-made examples."""

from __future__ import annotations

import math

import numpy as np
import pytest

pytest.importorskip("torch")

from benchmarks.peers import PEERS, Opinion, constant, debugger, keras, lightning, runmedic, seeds
from benchmarks.peers.patience import Stop, stops

from lossdoctor.core.history import TrainingHistory


def history(loss: list[float], val: list[float] | None = None, norm: list[float] | None = None) -> TrainingHistory:
    curves = {"loss": (np.arange(1, len(loss) + 1), np.array(loss))}
    if val is not None:
        at = np.linspace(1, len(loss), len(val)).astype(int)
        curves["val_loss"] = (at, np.array(val))
    if norm is not None:
        curves["grad_norm"] = (np.arange(1, len(norm) + 1), np.array(norm))
    return TrainingHistory(curves)


FALLING = [2.0 * 0.97**i for i in range(120)]


def test_an_opinion_may_only_advise_what_the_catalogue_knows() -> None:
    with pytest.raises(ValueError, match="no such action: pray"):
        Opinion(True, ("pray",))
    assert Opinion(True).score == 1.0
    assert Opinion(False).score == 0.0


def test_the_constant_peer_says_the_same_of_everything() -> None:
    assert constant.ask(history(FALLING)) == constant.ask(history([math.nan]))


# The texts' own conditions: five losses, a window of 50 and a threshold of 0.001, twenty evaluations.
def test_the_seeds_see_an_explosion_among_the_last_five_only() -> None:
    assert seeds.explosion([1.0] * 5 + [math.nan])
    assert seeds.explosion([1.0, 1.0, 1.0, 1.0, math.inf])
    assert not seeds.explosion([math.nan, 1.0, 1.0, 1.0])
    assert not seeds.explosion([math.nan] + [1.0] * 5)


def test_the_seeds_see_a_plateau_of_fifty_after_a_hundred() -> None:
    assert seeds.plateau([1.0] * 100)
    assert not seeds.plateau([1.0] * 99)
    assert not seeds.plateau([1.0] * 99 + [1.002])


def test_the_seeds_see_overfitting_from_twenty_evaluations_on() -> None:
    loss = list(np.linspace(2, 1, 20))
    assert seeds.overfitting(loss, list(np.linspace(1, 2, 20)))
    assert not seeds.overfitting(loss, list(np.linspace(1, 2, 19)))
    assert not seeds.overfitting(loss, list(np.linspace(2, 1, 20)))


def test_the_seeds_advise_in_their_order() -> None:
    told = seeds.ask(history(FALLING[:95] + [math.nan] * 5))
    assert told.advice == ("reduce_learning_rate", "clip_gradients")
    assert told.told == ("LOSS_EXPLOSION",)


def test_patience_counts_evaluations_without_an_improvement() -> None:
    values = [5.0, 4.0, 4.0, 4.1, 3.9, 4.0]
    assert stops(values, 1) == Stop(2, 1)
    assert stops(values, 2) == Stop(3, 1)
    assert stops(values, 3) is None
    assert stops(values, 2, min_delta=0.2) == Stop(3, 1)
    assert stops([math.nan, 1.0], 0, spares_first=True) is None
    assert stops([math.nan, 1.0], 0) == Stop(0, 0)


def test_keras_stops_at_the_first_evaluation_that_is_not_better_unless_told_to_wait() -> None:
    bumpy = history(FALLING, [2.0, 1.5, 1.6, 1.2, 1.0, 0.9])
    assert keras.ask(bumpy).advice == ("stop_early",)
    assert keras.ask(bumpy).onset == bumpy.curve("val_loss").steps[1]  # type: ignore[union-attr]
    assert not keras.ask_patiently(bumpy).alarm
    assert not keras.ask(history(FALLING)).alarm


def test_keras_terminates_on_nan_before_the_patience_runs_out() -> None:
    told = keras.ask_patiently(history([*FALLING[:50], math.nan, *FALLING[51:]], [1.0] * 12))
    assert told.told == ("TerminateOnNaN",)
    assert told.onset == 51
    assert told.advice[0] == "reduce_learning_rate"


def test_lightning_waits_for_three_and_minds_only_validation() -> None:
    assert not lightning.ask(history(FALLING, [3.0, 1.0, 1.1, 1.2])).alarm
    assert lightning.ask(history(FALLING, [3.0, 1.0, 1.1, 1.2, 1.0])).told == ("patience",)
    assert lightning.ask(history(FALLING, [3.0, math.inf, 1.0])).told == ("check_finite",)
    assert not lightning.ask(history([*FALLING, math.nan])).alarm


def test_the_debugger_compares_as_its_documentation_says() -> None:
    saved = list(range(9, 40, 3))
    assert [(saved[i], saved[j]) for i, j in debugger.comparisons(saved)] == [(21, 9), (33, 21)]
    assert list(debugger.comparisons([])) == []


@pytest.mark.parametrize(
    ("later", "fires"),
    [(99.0, False), (99.91, True), (100.0, True), (104.9, False), (105.1, True), (math.nan, False)],
)
def test_a_loss_must_fall_by_a_thousandth_or_rise_by_less_than_a_twentieth(later: float, fires: bool) -> None:
    assert (debugger.not_decreasing([0, 10], [100.0, later]) is not None) == fires


def test_the_debugger_takes_a_gap_of_a_tenth_for_overfitting() -> None:
    assert debugger.overfit(history([1.0] * 10, [1.09, 1.09])) is None
    assert debugger.overfit(history([1.0] * 10, [1.09, 1.11])) == 10


def test_the_debugger_sees_what_is_not_finite_or_vanishes() -> None:
    assert debugger.ask(history([*FALLING, math.nan])).told[0] == "ExplodingTensor"
    assert "VanishingGradient" in debugger.ask(history(FALLING, norm=[1.0] * 60 + [1e-8] * 60)).told
    assert not debugger.ask(history(FALLING, norm=[1e-6] * 120)).alarm


@pytest.mark.skipif(not runmedic.available(), reason="runmedic is not installed: pip install runmedic==0.1.1")
def test_runmedic_speaks_through_its_own_code() -> None:
    assert not runmedic.ask(history(FALLING)).alarm
    told = runmedic.ask(history([*FALLING[:60], *[math.nan] * 60]))
    assert told.told == ("non_finite",)
    assert told.onset == 61
    assert "clip_gradients" in told.advice


def test_every_peer_bears_an_empty_and_a_short_log() -> None:
    for name, ask in PEERS.items():
        if name.startswith("runmedic") and not runmedic.available():
            continue
        for short in (history([]), history([1.0]), history([1.0, math.nan], [math.nan])):
            assert isinstance(ask(short), Opinion)
