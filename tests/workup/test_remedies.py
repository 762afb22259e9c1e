"""Actions become changes of a configuration, in the names that the configuration itself uses."""

from __future__ import annotations

from typing import Any

import pytest

from lossdoctor.core.errors import UsageError
from lossdoctor.core.finding import Action
from lossdoctor.core.history import TrainingHistory
from lossdoctor.core.vocabulary import ACTIONS
from lossdoctor.workup.remedies import Change, Keys, actions_of, changes, why_not


def values(action: str, config: dict[str, Any], *, detail: str = "", **options: Any) -> list[dict[str, Any]]:
    return [dict(c.values) for c in changes(Action(action, detail), Keys(config, **options))]


@pytest.mark.parametrize(
    ("action", "config", "expected"),
    [
        ("reduce_learning_rate", {"learning_rate": 0.3}, [{"learning_rate": 0.1}, {"learning_rate": 0.03}]),
        ("increase_learning_rate", {"lr": 1e-4}, [{"lr": 3e-4}, {"lr": 1e-3}]),
        ("decay_learning_rate", {"lr_scheduler_type": "constant"}, [{"lr_scheduler_type": "cosine"}]),
        ("decay_learning_rate", {"schedule": "linear"}, []),
        ("change_schedule", {"schedule": "cosine_with_restarts"}, [{"schedule": "constant"}]),
        ("add_warmup", {"warmup_ratio": 0.0}, [{"warmup_ratio": 0.1}, {"warmup_ratio": 0.2}]),
        ("add_warmup", {"warmup_ratio": 0.1}, [{"warmup_ratio": 0.2}]),
        ("add_warmup", {"warmup_steps": 0}, [{"warmup_steps": 50}, {"warmup_steps": 100}]),
        ("change_optimizer", {"optimizer": "AdamW", "lr": 3e-3}, [{"optimizer": "sgd", "lr": 0.01}]),
        ("change_optimizer", {"optimizer": "sgd", "lr": 0.1}, [{"optimizer": "adamw", "lr": 1e-3}]),
        ("adjust_momentum", {"momentum": 0.99}, [{"momentum": 0.5}]),
        ("adjust_momentum", {"momentum": 0.0}, []),
        ("clip_gradients", {"max_grad_norm": None}, [{"max_grad_norm": 1.0}]),
        ("clip_gradients", {"clip_norm": 5.0}, [{"clip_norm": 0.5}]),
        ("change_precision", {"precision": "16-mixed"}, [{"precision": "bf16"}, {"precision": "fp32"}]),
        ("change_precision", {"fp16": True}, [{"fp16": False}]),
        ("change_precision", {"precision": "bf16"}, []),
        ("shuffle_data", {"shuffle": False}, [{"shuffle": True}]),
        ("shuffle_data", {"shuffle": True}, []),
        ("increase_batch_size", {"batch_size": 32}, [{"batch_size": 128}]),
        ("add_regularization", {"weight_decay": 0.0, "dropout": 0.1}, [{"weight_decay": 0.01}, {"dropout": 0.3}]),
        ("add_regularization", {"wd": 1e-3, "dropout": 0.5}, [{"wd": 0.01}]),
        ("reduce_regularization", {"weight_decay": 0.1, "dropout": 0.5}, [{"weight_decay": 0.0, "dropout": 0.0}]),
        ("reduce_regularization", {"weight_decay": 0.0, "dropout": 0.0}, []),
        ("increase_capacity", {"hidden_size": 8}, [{"hidden_size": 16}, {"hidden_size": 32}]),
        ("reduce_capacity", {"width": 3}, [{"width": 2}, {"width": 1}]),
        ("get_more_data", {"train_share": 0.5, "augment": False}, [{"train_share": 1.0}, {"augment": True}]),
        ("change_loss", {"loss": "mse"}, [{"loss": "huber"}]),
        ("change_loss", {"loss": "cross_entropy"}, []),
        ("normalize_inputs", {"normalize": False}, [{"normalize": True}]),
    ],
)  # fmt: skip
def test_an_action_changes_the_keys_that_mean_it(
    action: str, config: dict[str, Any], expected: list[dict[str, Any]]
) -> None:
    assert values(action, config, steps=500) == expected


def test_a_key_that_is_not_in_the_configuration_is_set_where_it_is_accepted() -> None:
    assert values("clip_gradients", {"lr": 0.1}) == []
    assert values("clip_gradients", {"lr": 0.1}, accepts=("grad_clip",)) == [{"grad_clip": 1.0}]


def test_the_norm_that_the_diagnosis_names_is_tried_first() -> None:
    detail = "at a norm of 3.2e-05, the 90th percentile of what was logged"
    assert values("clip_gradients", {"clip": None}, detail=detail) == [{"clip": 3.2e-05}, {"clip": 1.0}]


@pytest.mark.parametrize("action", sorted(ACTIONS))
def test_every_action_says_why_it_cannot_be_tried(action: str) -> None:
    assert changes(Action(action), Keys({"something": 1})) == []
    assert len(why_not(action)) > 10


def test_actions_come_from_whatever_advises() -> None:
    diagnosis = TrainingHistory(loss=[1.0 + 0.1 * 1.5**i for i in range(60)]).diagnose()
    named = [a.action for a in actions_of(diagnosis)]
    assert named
    assert named == [a.action for a in actions_of(diagnosis.findings)]
    assert [a.action for a in actions_of(["add_warmup", "add_warmup", Action("none")])] == ["add_warmup"]


def test_an_action_that_there_is_not_is_refused() -> None:
    with pytest.raises(UsageError, match=r"no action 'reduce_learning_rat'.*did you mean 'reduce_learning_rate'"):
        actions_of(["reduce_learning_rat"])
    with pytest.raises(UsageError, match="findings is a int; expected a diagnosis"):
        actions_of(3)


def test_changes_of_different_keys_can_be_joined() -> None:
    lower, clipped = Change("a", "x", {"lr": 1}), Change("b", "y", {"clip": 2})
    assert lower.joins(clipped)
    assert not lower.joins(Change("c", "x", {"lr": 3}))
    assert lower.and_(clipped).of({"lr": 5, "k": 0}) == {"lr": 1, "clip": 2, "k": 0}
