"""TrainingHistory: the seeds' API as written, ragged curves, roles and recording."""

from __future__ import annotations

import math
import pickle

import numpy as np
import pytest

import lossdoctor
from lossdoctor.core.curve import Curve
from lossdoctor.core.errors import UsageError
from lossdoctor.core.history import TrainingHistory


def test_the_seeds_api_works_as_written() -> None:
    history = TrainingHistory()
    for i in range(30):
        history.record(2.0 - i / 100, 1.5, 2.2 - i / 100)
    history.record(1.6, 0.5)
    history.record(loss=1.5, grad_norm=0.4, val_loss=None)
    assert len(history.loss) == len(history.grad_norm) == 32
    assert len(history.val_loss) == 30
    assert history.loss[-1] == 1.5
    assert history.loss[-5:] == [1.74, 1.73, 1.72, 1.71, 1.6, 1.5][-5:]
    assert np.mean(history.loss) == pytest.approx(np.mean(list(history.loss)))
    assert max(history.loss) == 2.0


def test_the_seeds_constructor_takes_lists() -> None:
    history = TrainingHistory(loss=[2.0, 1.0], val_loss=[2.5], grad_norm=[1.0, 1.0])
    assert history.loss == [2.0, 1.0]
    assert history.val_loss == [2.5]
    assert history["loss"].steps.tolist() == [1, 2]
    assert TrainingHistory().loss == []
    assert not TrainingHistory().val_loss


def test_lists_can_be_appended_to() -> None:
    history = TrainingHistory()
    history.loss.append(2.0)
    history.loss.append(1.0)
    history.val_loss.append(2.1)
    assert history["loss"].steps.tolist() == [1, 2]
    assert history.val_loss == [2.1]
    read = TrainingHistory({"train/CrossEntropyLoss": ([10, 20], [2.0, 1.0])})
    read.loss.append(0.5)
    assert read["train/CrossEntropyLoss"].steps.tolist() == [10, 20, 21]


def test_metrics_are_ragged_and_nothing_is_padded() -> None:
    history = TrainingHistory()
    for step in range(1, 101):
        history.record(loss=1.0, step=step, val_loss=1.1 if step % 10 == 0 else None)
    assert len(history["loss"]) == 100
    assert history["val_loss"].steps.tolist() == list(range(10, 101, 10))
    assert len(history) == history.points == 100


def test_other_metrics_and_steps_are_recorded() -> None:
    history = TrainingHistory()
    history.record(loss=1.0, step=100, lr=0.1, custom=float("inf"))
    history.record(loss=0.9)
    assert history["loss"].steps.tolist() == [100, 101]
    assert math.isinf(history["custom"].values[0])
    assert list(history.curves) == ["loss", "lr", "custom"]
    assert history.roles.primary("learning_rate") == "lr"


def test_nan_is_kept_and_anything_float_takes_is_taken() -> None:
    history = TrainingHistory()
    history.record(loss=np.float32(0.5))
    history.record(loss=float("nan"))
    history.record(loss="0.25")  # type: ignore[arg-type]
    assert history["loss"].values.tolist()[::2] == [0.5, 0.25]
    assert math.isnan(history.loss[1])


def test_reading_between_records_sees_everything() -> None:
    history = TrainingHistory({"loss": ([1, 2], [1.0, 0.9])})
    assert len(history["loss"]) == 2
    history.add("loss", 3, 0.8)
    assert history["loss"].values.tolist() == [1.0, 0.9, 0.8]
    history.add("loss", 4, 0.7)
    assert len(history.curves["loss"]) == 4


def test_times_survive_only_when_every_point_has_one() -> None:
    history = TrainingHistory()
    history.add("a", 1, 1.0, time=10.0)
    history.add("a", 2, 1.0, time=11.0)
    history.add("b", 1, 1.0, time=10.0)
    history.add("b", 2, 1.0)
    assert history["a"].times.tolist() == [10.0, 11.0]  # type: ignore[union-attr]
    assert history["b"].times is None


def test_roles_can_be_overridden_and_follow_new_metrics() -> None:
    history = TrainingHistory({"loss": ([1], [1.0]), "odd": ([1], [2.0])}, metrics={"val_loss": "odd"})
    assert history.curve("val_loss").values.tolist() == [2.0]  # type: ignore[union-attr]
    history.add("lr", 1, 0.1)
    assert history.roles.primary("learning_rate") == "lr"
    assert history.roles.primary("val_loss") == "odd"
    with pytest.raises(UsageError, match="no metric 'nope'"):
        history.set_roles({"train_loss": "nope"})
    assert history.roles.primary("train_loss") == "loss"
    assert history.curve("param_norm") is None


def test_segments_come_from_the_primary_loss() -> None:
    history = TrainingHistory({"loss": ([*range(50), *range(30, 80)], [1.0] * 100), "val_loss": ([1, 2], [1.0, 1.0])})
    assert [s.first_step for s in history.segments] == [0, 30]
    assert TrainingHistory().segments == []


def test_smoothing_takes_a_name_or_a_role_and_names_what_there_is() -> None:
    history = TrainingHistory({"loss": (range(5), [1.0] * 5)})
    assert history.smooth("loss").values.tolist() == pytest.approx([1.0] * 5)
    assert history.smooth("train_loss", seeds=True).values.tolist() == pytest.approx([1.0] * 5)
    with pytest.raises(UsageError, match="no metric 'acc' to smooth; this run has loss"):
        history.smooth("acc")


def test_it_tells_itself_in_short_and_travels_between_processes() -> None:
    history = TrainingHistory({"loss": (range(5), [1.0] * 5)}, name="a")
    history.add("loss", 5, 0.5)
    assert repr(history) == "<TrainingHistory 'a': 6 points, metrics loss>"
    assert repr(TrainingHistory()) == "<TrainingHistory 'run': 0 points, metrics none>"
    again = pickle.loads(pickle.dumps(history))
    assert again["loss"].same_points(history["loss"])


def test_a_wrong_curve_is_refused_with_its_shapes() -> None:
    with pytest.raises(UsageError, match="one length"):
        TrainingHistory({"loss": ([1, 2], [1.0])})


def test_the_package_exports_it() -> None:
    assert lossdoctor.TrainingHistory is TrainingHistory
    assert lossdoctor.Curve is Curve
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        lossdoctor.nonsense  # noqa: B018
