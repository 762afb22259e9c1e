"""A loss that is logged only as its terms: the sum plays the role, and the terms stay visible."""

from __future__ import annotations

import numpy as np
import pytest

from lossdoctor.core.curve import Curve
from lossdoctor.core.history import TrainingHistory
from lossdoctor.core.terms import total

BOX = [1.0 - 0.001 * i for i in range(60)]  # level, while the other term falls
CLS = [3.0 * 0.95**i + 0.5 for i in range(60)]


def yolo(**more: list[float]) -> TrainingHistory:
    columns = {"train/box_loss": BOX, "train/cls_loss": CLS, "val/box_loss": BOX, "val/cls_loss": CLS, **more}
    return TrainingHistory({n: (range(1, len(v) + 1), v) for n, v in columns.items()}, step_unit="epoch")


def test_the_sum_plays_the_role_and_the_names_are_all_listed() -> None:
    h = yolo()
    assert h.roles.names["train_loss"] == ("train/box_loss", "train/cls_loss")
    assert h.roles.names["val_loss"] == ("val/box_loss", "val/cls_loss")
    assert h.roles.primary("train_loss") == "train/box_loss"
    assert h.roles.comparable
    assert h.roles.auxiliary == ()
    assert h.loss[0] == BOX[0] + CLS[0]
    assert h.points == 60
    assert h["train/box_loss + train/cls_loss"].same_points(h.curve("train_loss"))  # type: ignore[arg-type]
    assert "val/box_loss + val/cls_loss" in h
    assert "val/box_loss + lr" not in h
    assert list(h.curves) == ["train/box_loss", "train/cls_loss", "val/box_loss", "val/cls_loss"]


def test_the_sum_is_judged_and_findings_name_it() -> None:
    rising = [CLS[i] if i < 30 else CLS[30] + 0.1 * (i - 30) for i in range(60)]
    found = yolo(**{"val/cls_loss": rising}).diagnose().findings
    assert ("LD301", "val/box_loss + val/cls_loss") in [(f.code, f.metric) for f in found]


def test_a_term_that_becomes_nan_is_named() -> None:
    d = yolo(**{"train/cls_loss": [*CLS[:40], *[float("nan")] * 20]}).diagnose()
    (finding,) = [f for f in d.findings if f.code == "LD101"]
    assert finding.metric == "train/box_loss + train/cls_loss"
    assert "so did train/cls_loss" in finding.summary


def test_every_name_is_in_the_json() -> None:
    assert yolo().diagnose().as_dict()["metrics"]["train_loss"] == ["train/box_loss", "train/cls_loss"]


@pytest.mark.parametrize(
    "more",
    [
        {"train/loss": CLS},
        {"train/total_loss": CLS},
        {"train/Tot Loss": CLS},
        {"train/objective": CLS},
        {"train/dfl_loss": CLS},  # without a validation twin
        {"val/loss": CLS},
        {"train/sum_of_losses_loss": [a + b for a, b in zip(BOX, CLS, strict=True)], "val/sum_of_losses_loss": BOX},
        {"train/model_loss": [a + b for a, b in zip(BOX, CLS, strict=True)], "val/model_loss": BOX},
    ],
)
def test_a_total_by_whatever_name_is_not_added_to_its_terms(more: dict[str, list[float]]) -> None:
    assert not yolo(**more).roles.terms("train_loss")


@pytest.mark.parametrize(
    "names",
    [
        ("train-rmse", "train-mae", "validation-rmse", "validation-mae"),
        ("training's binary_logloss", "training's l2", "valid_1's binary_logloss", "valid_1's l2"),
        ("mse_loss", "mae_loss", "val_mse_loss", "val_mae_loss"),
        ("loss_step", "loss_epoch", "val_loss_step", "val_loss_epoch"),
        ("g_loss", "d_loss", "val_g_loss", "val_d_loss"),
    ],
)
def test_several_measures_of_one_thing_are_no_terms(names: tuple[str, ...]) -> None:
    h = TrainingHistory({n: (range(60), CLS) for n in names})
    assert not h.roles.terms("train_loss")
    assert not h.roles.terms("val_loss")


def test_terms_on_other_steps_are_not_added() -> None:
    curves = {n: (range(60), CLS) for n in ("train/a_loss", "val/a_loss", "val/b_loss")}
    assert not TrainingHistory({**curves, "train/b_loss": (range(0, 120, 2), CLS)}).roles.terms("train_loss")


def test_the_user_may_choose_one_term() -> None:
    h = yolo()
    h.set_roles({"train_loss": "train/cls_loss"})
    assert h.roles.names["train_loss"] == ("train/cls_loss",)
    assert h.loss[0] == CLS[0]


def test_a_row_that_is_not_yet_complete_changes_nothing() -> None:
    h = yolo()
    h.add("train/box_loss", 61, 0.9)
    assert h.roles.terms("train_loss") == ("train/box_loss", "train/cls_loss")
    assert len(h.loss) == 60


def test_many_terms_have_a_short_label() -> None:
    names = [f"{split}/{c}_loss" for split in ("train", "val") for c in "abcefhij"]
    h = TrainingHistory({n: (range(60), CLS) for n in names})
    label = h.roles.label("train_loss")
    assert label is not None
    assert label.endswith("train/h_loss + 2 more")
    assert h[label].values[0] == pytest.approx(8 * CLS[0])


def test_the_total_keeps_what_is_not_finite() -> None:
    a, b = Curve.make([1, 2, 3], [np.inf, np.nan, np.inf]), Curve.make([1, 2, 3], [1.0, 1.0, -np.inf])
    np.testing.assert_array_equal(total([a, b]).values, [np.inf, np.nan, np.nan])
