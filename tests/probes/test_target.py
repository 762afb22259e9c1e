"""What a checkup is told: every form that make() may return, and what is wrong with the others."""

from __future__ import annotations

from collections import namedtuple
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from lossdoctor.core.errors import UsageError
from lossdoctor.probes import Target

MODEL, LOSS = nn.Linear(3, 2), nn.CrossEntropyLoss()
TRAIN = [(torch.ones(4, 3), torch.zeros(4, dtype=torch.long))]
VAL = [(torch.zeros(4, 3), torch.zeros(4, dtype=torch.long))]
ADAM = torch.optim.Adam(MODEL.parameters(), lr=0.01)
Run = namedtuple("Run", "model criterion train_loader val_loader")


@pytest.mark.parametrize(
    "made",
    [
        {"model": MODEL, "loss_fn": LOSS, "train": TRAIN, "val": VAL},
        {"net": MODEL, "criterion": LOSS, "train_loader": TRAIN, "valid_loader": VAL},
        (MODEL, LOSS, TRAIN, VAL),
        [MODEL, LOSS, TRAIN, VAL],
        Run(MODEL, LOSS, TRAIN, VAL),
        SimpleNamespace(model=MODEL, loss_fn=LOSS, train_dataloader=TRAIN, validation=VAL),
        Target(MODEL, LOSS, TRAIN, VAL),
    ],
    ids=["mapping", "other names", "tuple", "list", "named tuple", "object", "target"],
)
def test_all_forms_are_one_target(made: Any) -> None:
    found = Target.of(made)
    assert (found.model, found.loss_fn, found.train, found.val) == (MODEL, LOSS, TRAIN, VAL)
    assert found.optimizer is None


def test_the_shortest_and_the_longest_forms() -> None:
    assert Target.of((MODEL, LOSS, TRAIN)).val is None
    assert Target.of((MODEL, LOSS, TRAIN, None, ADAM)).optimizer is ADAM
    forward = lambda model, batch: model(batch[0]).sum()  # noqa: E731
    found = Target.of({"model": MODEL, "train": TRAIN, "forward": forward})
    assert found.forward is forward
    assert found.loss_fn is None


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (None, r"got None; expected a mapping or an object with 'model'"),
        (MODEL, "got a Linear; expected"),
        (3, "got a int; expected"),
        ((MODEL, LOSS), "got a tuple of 2; expected"),
        ({}, "got a mapping with nothing without 'model'"),
        ({"model": MODEL, "loss_fn": LOSS}, "a mapping with 'model', 'loss_fn' without 'train'"),
        ({"model": MODEL, "trian": TRAIN}, "unknown key 'trian'; known are .*; did you mean 'train'"),
        ({"model": MODEL, "train": TRAIN, "loader": TRAIN}, "'train' is given twice, also as 'loader'"),
        ({"model": "net", "train": TRAIN}, "the model is a str; expected a torch.nn.Module"),
        ({"model": nn.ReLU(), "train": TRAIN}, "ReLU has no parameters"),
        ({"model": MODEL, "train": iter(TRAIN)}, "can be read only once"),
        ({"model": MODEL, "train": 3}, "the loader is a int"),
        ({"model": MODEL, "train": TRAIN, "val": iter(VAL)}, "'val': the loader is a list_iterator"),
        ({"model": MODEL, "train": TRAIN, "loss_fn": "ce"}, "loss_fn is a str"),
        ({"model": MODEL, "train": TRAIN, "optimizer": torch.optim.Adam}, "the optimizer is a type; expected a torch"),
        ({"model": MODEL, "train": TRAIN, "forward": 1}, "forward is a int; expected a function"),
    ],
)
def test_what_is_wrong_is_named(made: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Target.of(made)


def test_the_facts_of_a_target() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    model[0].weight.requires_grad_(False)
    groups = [{"params": model[0].parameters(), "lr": 0.001}, {"params": model[1].parameters(), "lr": 0.1}]
    loader = DataLoader(TensorDataset(torch.ones(10, 3), torch.ones(10)), batch_size=5)
    target = Target(model, LOSS, loader, optimizer=torch.optim.SGD(groups, lr=1.0))
    assert target.facts() == (
        ("model", "Sequential"),
        ("parameters", "14 (and 12 frozen)"),
        ("on", "cpu"),
        ("training batches", "2"),
        ("optimizer", "SGD, lr 0.001 to 0.1"),
    )


def test_a_stream_has_no_length_to_tell() -> None:
    class Endless(IterableDataset[Any]):
        def __iter__(self) -> Any:
            while True:
                yield torch.ones(3), 0

    assert "training batches" not in dict(Target(MODEL, LOSS, DataLoader(Endless())).facts())
