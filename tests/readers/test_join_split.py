"""Several runs in one log are cut apart; a step axis that starts anew with every epoch is counted on."""

from __future__ import annotations

import numpy as np
import pytest
from tests.readers.fakes import falling

from lossdoctor.core.curve import Curve
from lossdoctor.core.history import TrainingHistory
from lossdoctor.readers.split import split_runs


def log(*runs: list[float], first: int = 0, every: int = 1) -> Curve:
    """One curve after another, each from the first step."""
    steps = [first + i * every for run in runs for i in range(len(run))]
    return Curve.make(steps, [v for run in runs for v in run])


def split(curves: dict[str, Curve], **options: object) -> list[TrainingHistory]:
    return split_runs(TrainingHistory(curves, name="log", path="runs/log", format="csv", **options))  # type: ignore[arg-type]


def test_a_log_of_one_run_is_left_alone() -> None:
    history = TrainingHistory({"loss": (range(50), falling(50))}, path="x")
    assert split_runs(history) == [history]
    assert split_runs(TrainingHistory()) != []


def test_reruns_become_runs_with_numbered_names() -> None:
    curves = {
        "loss": log(falling(50), falling(30, start=3.0), falling(40, start=4.0)),
        "val_loss": log(falling(5), falling(3, start=3.5), falling(4, start=4.5), first=10, every=10),
        "lr": log([0.1] * 50, [0.1] * 30, [0.1] * 40),
    }
    found = split(curves, notes=["as read"])
    assert [h.path for h in found] == ["runs/log#1", "runs/log#2", "runs/log#3"]
    assert [h.name for h in found] == ["log#1", "log#2", "log#3"]
    assert [len(h["loss"]) for h in found] == [50, 30, 40]
    assert [h["val_loss"].values.tolist() for h in found] == [
        falling(5),
        falling(3, start=3.5),
        falling(4, start=4.5),
    ]
    assert found[0].notes == ["as read", "the log holds 3 runs: its steps return to the start"]
    assert {h.format for h in found} == {"csv"}


def test_no_point_is_lost_or_doubled_in_cutting() -> None:
    curves = {"loss": log(falling(50), falling(30, start=3.0)), "x": log(falling(7), falling(9)), "y": log([1.0] * 20)}
    found = split(curves)
    for name, curve in curves.items():
        parts = [h[name].values for h in found if name in h]
        assert np.concatenate(parts).tolist() == curve.values.tolist()


def test_wall_times_tell_where_a_curve_is_cut() -> None:
    loss = Curve.make([*range(20), *range(20)], [*falling(20), *falling(20, start=9.0)], np.arange(40.0))
    # validated twice in the first run and not at all before the crash of the second
    val = Curve.make([5, 15, 12], [1.0, 0.9, 7.0], [5.0, 15.0, 32.0])
    first, second = split({"loss": loss, "val_loss": val})
    assert (len(first["val_loss"]), len(second["val_loss"])) == (2, 1)


def test_a_curve_that_only_one_run_has_goes_to_the_first_that_reaches_as_far() -> None:
    curves = {"loss": log(falling(20), falling(60, start=3.0)), "late": Curve.make([30, 40, 50], [1.0, 2.0, 3.0])}
    first, second = split(curves)
    assert "late" not in first
    assert len(second["late"]) == 3
    assert "it is not sure to which of them the points of late belong" in second.notes


def test_a_resume_is_no_new_run() -> None:
    curves = {"loss": Curve.make([*range(50), *range(30, 80)], falling(100))}
    assert len(split(curves)) == 1


def test_twenty_equal_reruns_are_runs_not_epochs() -> None:
    """A real log holds twenty runs of 37 evaluations each."""
    assert len(split({"val_loss": log(*[falling(37, start=10.0 + k / 100) for k in range(20)], every=125)})) == 20
    assert len(split({"val_loss": log(*[falling(37, start=10.0 + k / 100) for k in range(30)], every=125)})) == 30


@pytest.mark.parametrize("epochs", [3, 8, 300])
def test_an_iteration_that_resets_with_every_epoch_is_counted_on(epochs: int) -> None:
    values = falling(epochs * 40, rate=0.1 ** (1 / (epochs * 40)))
    loss = Curve.make(np.tile(np.arange(0, 400, 10), epochs), values)
    (history,) = split({"loss": loss})
    assert history["loss"].steps.tolist() == list(range(0, epochs * 400, 10))
    assert history["loss"].values.tolist() == values
    assert f"the steps start anew {epochs - 1} times, after 40 points each: counted on as one axis" in history.notes


def test_an_epoch_column_decides() -> None:
    values = [*falling(30), *falling(30)]
    steps = np.tile(np.arange(30), 2)
    one = split({"loss": Curve.make(steps, values), "epoch": Curve.make(steps, np.repeat([1.0, 2.0], 30))})
    assert len(one) == 1
    two = split({"loss": Curve.make(steps, values), "epoch": Curve.make(steps, np.tile(np.arange(30) // 10, 2))})
    assert len(two) == 2


def test_a_few_epochs_tried_several_times_are_runs() -> None:
    """Keras's CSVLogger appends; a real file holds 5, 4, 10 and 5 epochs."""
    loss = log(falling(5), falling(4, start=2.1), falling(10, start=1.9), falling(5, start=2.0))
    assert [len(h["loss"]) for h in split({"loss": loss}, step_unit="epoch")] == [5, 4, 10, 5]
    equal = log(falling(5), falling(5, start=2.1))
    assert [len(h["loss"]) for h in split({"loss": equal}, step_unit="epoch")] == [5, 5]


def test_short_epochs_of_a_noisy_loss_are_no_runs() -> None:
    values = np.random.default_rng(3).normal(1.0, 0.1, 60)
    (history,) = split({"loss": Curve.make(np.tile(np.arange(0, 50, 10), 12), values)})
    assert history["loss"].steps.tolist() == list(range(0, 600, 10))


def test_epochs_of_different_lengths_are_counted_on_where_the_epoch_is_logged() -> None:
    lengths = [5, 3, 7, 4]
    steps = [i for n in lengths for i in range(n)]
    epoch = [float(e) for e, n in enumerate(lengths) for _ in range(n)]
    (history,) = split({"loss": Curve.make(steps, falling(19)), "epoch": Curve.make(steps, epoch)})
    assert history["loss"].steps.tolist() == list(range(19))


def test_the_last_epoch_may_be_cut_short() -> None:
    loss = Curve.make([*np.tile(np.arange(40), 4), *range(7)], falling(167, rate=0.99))
    (history,) = split({"loss": loss})
    assert history["loss"].steps.tolist() == list(range(167))


def test_one_validation_per_epoch_is_placed_on_the_counted_axis() -> None:
    loss = Curve.make(np.tile(np.arange(40), 5), falling(200, rate=0.99))
    val = Curve.make([39] * 5, falling(5))
    (history,) = split({"loss": loss, "val_loss": val})
    assert history["val_loss"].steps.tolist() == [39, 79, 119, 159, 199]


def test_a_curve_that_cannot_be_placed_keeps_its_steps_and_is_named() -> None:
    loss = Curve.make(np.tile(np.arange(40), 5), falling(200, rate=0.99))
    val = Curve.make([1, 2, 3], falling(3))
    (history,) = split({"loss": loss, "val_loss": val})
    assert history["val_loss"].steps.tolist() == [1, 2, 3]
    assert "val_loss could not be placed on it and keeps its own steps" in " ".join(history.notes)


def test_a_hundred_thousand_restarts_do_not_hang() -> None:
    steps = np.random.default_rng(0).integers(0, 1000, 200_000)
    assert len(split({"loss": Curve.make(steps, np.ones(200_000))})) == 1
    saw = np.tile(np.arange(10), 20_000)
    assert len(split({"loss": Curve.make(saw, np.linspace(2, 1, 200_000))})) == 1
