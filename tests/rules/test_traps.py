"""Real runs that naive rules get wrong: each stays quiet or is told right, as it was logged and thinned.

Those of ``tests/data/traps`` were trained for this (its ``make.py`` says how), the others are public logs.
"""

from __future__ import annotations

from functools import cache

import pytest

import lossdoctor
from lossdoctor.core.history import TrainingHistory
from lossdoctor.core.vocabulary import severity_rank
from lossdoctor.engine.cases import build_cases
from lossdoctor.signal.reading import Reading
from tests.rules import changes, runs

# trap -> what it is
QUIET = {
    "continued": "a continued run that starts low and stays level is no flat line",
    "reweighted": "a loss that rises 20-fold while its weight grows during warmup is no divergence",
    "noisy": "100,000 steps whose noise swamps the trend, with a drop of the rate at the end",
    "restarts": "cosine restarts",
    "stairs": "a rate that falls in steps",
    "fast": "an early best evaluation and a level rest are no reason to go back: validation did not get worse",
    "density": "a log-density crosses zero: nothing may be divided by it",
    "tiny_validation": "one noisy evaluation of sixteen examples is not overfitting",
    "epoch_means": "means over the epoch lie above the evaluation at its end; the last row is a summary of zeros",
    "textlog/21": "a detection loss of several terms, in public",
    "textlog/23": "NaN in step_avg at step 0, and an early best of few evaluations",
    "textlog/25": "training, validation and test under one name",
}
THINNED = (1, 2, 3, 5, 10)


@cache
def trap(name: str) -> TrainingHistory:
    if "/" in name:
        return dict(runs.real())[name]
    (path,) = (runs.DATA / "traps").glob(f"{name}.csv*")
    (history,) = lossdoctor.read(path)
    return history


def told(history: TrainingHistory) -> set[str]:
    """Codes of the findings that are at least a warning, and of what they account for."""
    alarms = [f for f in history.diagnose().findings if severity_rank(f.severity) >= 1]
    return {code for f in alarms for code in (f.code, *f.explains)}


@pytest.mark.parametrize("every", THINNED)
@pytest.mark.parametrize("name", QUIET)
def test_stays_quiet(name: str, every: int) -> None:
    result = changes.every(every)(trap(name)).diagnose()
    assert not result.alarm, f"{QUIET[name]}: {result.basis}"


@pytest.mark.parametrize("every", THINNED)
def test_training_and_validation_that_rise_together_diverge(every: int) -> None:
    """They do not overfit, and each swing of what blew up is no spike."""
    result = changes.every(every)(trap("divergence_of_both")).diagnose()
    assert result.status == "critical"
    assert result.findings[0].code == "LD102"
    assert "LD301" not in {f.code for f in result.findings}


@pytest.mark.parametrize("every", [1, 2])  # there are five evaluations of the loss
def test_a_training_loss_that_ends_after_a_hundred_steps_says_nothing_of_the_rest(every: int) -> None:
    """``algoperf_csv/07``: the loss is filled for 100 of 73,000 steps, while validation goes from 30 to 3,358."""
    history = trap("algoperf_csv/07")
    loss = history["loss"]
    assert loss.steps[-1] < 0.02 * history["validation/ctc_loss"].steps[-1]
    assert "LD102" in told(changes.every(every)(history))


def test_a_loss_that_fell_once_and_sat_still_is_not_healthy() -> None:
    """``wandb_output/35``: from 10.0 to 9.65, then level."""
    assert told(trap("wandb_output/35")) & {"LD201", "LD204"}


def test_the_traps_are_what_they_are_taken_for() -> None:
    """Without these shapes the tests above would prove nothing."""

    def train(name: str) -> Reading:
        history = trap(name)
        found = build_cases(history, history.context, (), {})[0].reading("train_loss")
        assert found is not None
        return found

    assert len(trap("noisy")["loss"]) == 100_000
    noisy = train("noisy")
    assert noisy.raw_sigma > 2 * (noisy.level[len(noisy) // 7] - noisy.end.value) > 0
    weighted = trap("reweighted")["loss"].values
    assert weighted.max() > 15 * weighted[0]
    assert weighted[-1] < 0.2 * weighted.max()
    assert train("density").summary.max_value > 0 > train("density").end.value
    assert not train("continued").fell
    assert trap("epoch_means")["loss"].values[-1] == 0.0
    both = trap("divergence_of_both")
    assert both["loss"].values[-1] > 50 * both["loss"].values[0]
    assert both["val_loss"].values[-1] > 50 * both["val_loss"].values.min()
    fast = trap("fast")["val_loss"].values
    assert fast[: len(fast) // 4].min() < 1.05 * fast.min()
