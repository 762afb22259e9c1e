"""The learning rate comes down when the loss no longer falls."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from lossdoctor.core.errors import UsageError
from lossdoctor.live import Monitor
from lossdoctor.live.actions import ReduceLR
from lossdoctor.live.actions.flatness import Flatness
from tests.live.actions.watched import watch


def first_flat(values: np.ndarray, share: float = 0.4) -> int:
    flat = Flatness(share, 20)
    return next((i for i, value in enumerate(values.tolist()) if flat.add(value)), len(values))


def falling(noise: float, seed: int, n: int = 1500) -> np.ndarray:
    return 2 * np.exp(-np.arange(n) / 700) + noise * np.random.default_rng(seed).standard_normal(n)


def levelling(noise: float, seed: int, n: int = 1500) -> np.ndarray:
    at = np.arange(n)
    return np.where(at < 300, 2 - at / 200, 0.5) + noise * np.random.default_rng(seed).standard_normal(n)


@pytest.mark.parametrize("noise", [0.0, 0.02, 0.1, 0.3])
def test_a_falling_loss_is_not_flat_and_a_flat_one_is(noise: float) -> None:
    assert sum(first_flat(falling(noise, seed)) < 1500 for seed in range(6)) <= 1
    assert all(400 < first_flat(levelling(noise, seed)) < 1100 for seed in range(6))


@pytest.mark.parametrize("unit", [1e-100, 1e100, -1.0])
def test_the_unit_does_not_matter(unit: float) -> None:
    values = levelling(0.1, 3)
    if unit < 0:
        assert first_flat(values - 40.0) == first_flat(values)  # nor where zero is
    else:
        assert first_flat(values * unit) == first_flat(values)


def test_a_run_that_never_learned_is_not_called_flat() -> None:
    noise = np.random.default_rng(0).standard_normal(2000)
    assert first_flat(5.0 + 0.1 * noise) == 2000
    assert first_flat(np.full(2000, np.nan)) == 2000


class Run:
    def __init__(self, folder: Path, action: ReduceLR, *, watched: bool = True) -> None:
        self.model = nn.Linear(2, 1)
        self.optimizer = torch.optim.SGD(
            [{"params": [self.model.weight], "lr": 0.1}, {"params": [self.model.bias], "lr": 0.01}]
        )
        self.monitor = Monitor(run_dir=folder, actions=[action])
        if watched:
            watch(self.monitor, self.model, self.optimizer)

    def go(self, values: np.ndarray, name: str = "loss") -> list[float]:
        rates = []
        for step, value in enumerate(values.tolist()):
            self.optimizer.zero_grad()
            self.model(torch.ones(1, 2)).sum().backward()
            self.optimizer.step()
            self.monitor.log(step, **{name: value})
            rates.append(self.optimizer.param_groups[0]["lr"])
        self.monitor.finish()
        return rates

    def kinds(self) -> list[str]:
        return [e.kind for e in self.monitor.events if e.details.get("action") == "ReduceLR"]


def test_all_groups_come_down_and_an_event_tells(tmp_path: Path) -> None:
    run = Run(tmp_path, ReduceLR(most=2))
    run.go(levelling(0.05, 0, 3000))
    assert [g["lr"] for g in run.optimizer.param_groups] == pytest.approx([0.009, 0.0009])
    assert run.kinds() == ["learning_rate_changed", "learning_rate_changed", "gave_up"]
    told = next(e for e in run.monitor.events if e.kind == "learning_rate_changed")
    assert told.details["now"] == pytest.approx(0.03)
    assert told.details["factor"] == 0.3


def test_no_group_comes_below_the_least(tmp_path: Path) -> None:
    run = Run(tmp_path, ReduceLR(min_lr=0.005))
    run.go(levelling(0.05, 0, 3000))
    assert [g["lr"] for g in run.optimizer.param_groups] == pytest.approx([0.05, 0.005])
    assert run.kinds() == ["learning_rate_changed", "gave_up"]


def test_a_falling_loss_and_an_accuracy_that_rises_change_nothing(tmp_path: Path) -> None:
    assert set(Run(tmp_path / "a", ReduceLR()).go(falling(0.05, 1))) == {0.1}
    assert set(Run(tmp_path / "b", ReduceLR("val_accuracy")).go(1 - falling(0.02, 1), "val_accuracy")) == {0.1}


def test_the_validation_goes_before_the_training(tmp_path: Path) -> None:
    run = Run(tmp_path, ReduceLR())
    training, validation = levelling(0.02, 0), falling(0.01, 0)
    for step in range(1500):
        run.optimizer.zero_grad()
        run.model(torch.ones(1, 2)).sum().backward()
        run.optimizer.step()
        run.monitor.log(step, loss=training[step], val_loss=validation[step])
    assert not run.kinds()


def test_without_a_watch_it_says_what_is_missing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    run = Run(tmp_path, ReduceLR(), watched=False)
    with caplog.at_level(logging.WARNING, logger="lossdoctor"):
        run.go(levelling(0.02, 0))
    assert [r.message for r in caplog.records if "ReduceLR" in r.message] == [
        "ReduceLR could not lower the learning rate: it needs monitor.watch(model, optimizer) before training"
    ]


@pytest.mark.parametrize("wrong", [{"factor": 1.0}, {"flat": 0.0}, {"min_values": 2}, {"most": 0}, {"min_lr": -1.0}])
def test_what_cannot_be_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(UsageError, match="ReduceLR"):
        ReduceLR(**wrong)  # type: ignore[arg-type]
