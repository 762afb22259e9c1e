"""Roles beyond the table of tools: overrides, pairing, empty and short curves."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lossdoctor.core.curve import Curve
from lossdoctor.core.errors import UsageError
from lossdoctor.core.roles import ROLES, map_roles


def curves(*names: str, size: int = 50) -> dict[str, Curve]:
    return {n: Curve.make(range(size), [1.0] * size) for n in names}


def test_overrides_are_taken_as_given_and_free_the_rest() -> None:
    roles = map_roles(curves("loss", "val_loss", "x"), {"val_loss": "x"})
    assert roles.names["val_loss"] == ("x",)
    assert roles.names["train_loss"] == ("loss",)
    assert roles.auxiliary == ("val_loss",)
    swapped = map_roles(curves("loss", "val_loss"), {"train_loss": "val_loss", "val_loss": "loss"})
    assert (swapped.primary("train_loss"), swapped.primary("val_loss")) == ("val_loss", "loss")
    assert swapped.comparable
    assert swapped.auxiliary == ()


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"loss": "loss"}, r"unknown role 'loss' in --metric; roles are train_loss, val_loss"),
        ({"val_loss": "nope"}, r"--metric val_loss=nope: this log has no metric 'nope'; it has loss"),
        ({"val_loss": "loss", "train_loss": "loss"}, r"puts both val_loss and train_loss on 'loss'"),
    ],
)
def test_wrong_overrides_are_told(overrides: dict[str, str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        map_roles(curves("loss"), overrides)


def test_levels_may_be_compared_only_where_the_quantity_is_the_same() -> None:
    assert map_roles(curves("train/ce_loss", "val/ce_loss")).comparable
    assert map_roles(curves("total_loss", "validation_loss")).comparable
    assert not map_roles(curves("train/loss", "val/bpb")).comparable
    assert not map_roles(curves("train/box_loss", "val/cls_loss")).comparable
    assert not map_roles(curves("loss")).comparable


def test_empty_curves_play_no_role() -> None:
    roles = map_roles({"loss": Curve.make([], []), "train_loss": Curve.make([1], [1.0])})
    assert roles.primary("train_loss") == "train_loss"
    assert map_roles({}).names == {}


def test_a_total_goes_before_its_terms_and_many_points_before_one() -> None:
    assert map_roles(curves("loss_cls", "loss_box", "loss_total")).primary("train_loss") == "loss_total"
    summary = {**curves("loss"), **curves("train_loss", size=1)}
    assert map_roles(summary).primary("train_loss") == "loss"
    assert map_roles({**curves("val_loss"), **curves("eval_loss", size=1)}).primary("val_loss") == "val_loss"


def test_the_order_of_the_log_does_not_decide_what_its_names_decide() -> None:
    names = ["val_loss", "test_loss", "lr", "train_ppl", "train_loss", "g_loss", "best_loss"]
    forward, backward = map_roles(curves(*names)), map_roles(curves(*names[::-1]))
    assert {r: set(n) for r, n in forward.names.items()} == {r: set(n) for r, n in backward.names.items()}
    assert (forward.primary("train_loss"), forward.primary("val_loss")) == ("train_loss", "val_loss")


def test_only_validation_logged_leaves_training_open() -> None:
    roles = map_roles(curves("val_loss", "val_acc"))
    assert roles.primary("train_loss") is None
    assert roles.primary("val_loss") == "val_loss"
    assert roles.primary("val_accuracy") == "val_acc"


@given(st.lists(st.text(max_size=20), unique=True, max_size=12))
def test_no_metric_plays_two_loss_roles(names: list[str]) -> None:
    roles = map_roles(curves(*names))
    losses = [*roles.names.get("train_loss", ()), *roles.names.get("val_loss", ()), *roles.auxiliary]
    assert len(losses) == len(set(losses))
    assert set(roles.names) <= set(ROLES)
    assert set(losses) <= set(names)
