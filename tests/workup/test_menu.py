"""The real tests on real set-ups: each runs from what a patient has, and work-ups find what is wrong."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from tests.workup.fakes import says
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from lossdoctor.core.history import TrainingHistory
from lossdoctor.core.vocabulary import CAUSES, TESTS
from lossdoctor.workup import Patient, Test, WorkUp, workup
from lossdoctor.workup.menu import MENU

CE = nn.functional.cross_entropy


class Setup:
    """Two classes in eight numbers, by a small network; trained a little."""

    def __init__(self, steps: int = 240, lr: float = 0.05, scale: float = 1.0) -> None:
        torch.manual_seed(0)
        x = torch.randn(600, 8)
        y = ((x[:, 0] + 0.5 * x[:, 1] * x[:, 2]) > 0).long()
        x[:, 7] *= scale
        self.train = DataLoader(TensorDataset(x[:480], y[:480]), batch_size=32, shuffle=True)
        self.val = DataLoader(TensorDataset(x[480:], y[480:]), batch_size=60)
        self.model = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 2))
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=lr, momentum=0.9)
        self.steps = steps

    def history(self) -> TrainingHistory:
        """Train, and give the log."""
        losses: list[float] = []
        while len(losses) < self.steps:
            for inputs, target in self.train:
                loss = CE(self.model(inputs), target)
                self.optimizer.zero_grad()
                if loss.requires_grad:
                    loss.backward()
                    self.optimizer.step()
                losses.append(loss.item())
        return TrainingHistory(loss=losses[: self.steps])

    def workup(self, **options: Any) -> WorkUp:
        history = self.history()
        given = {"optimizer": self.optimizer, "progress": False, **options}
        return workup(history, self.model, CE, self.train, self.val, **given)


@pytest.fixture(scope="module")
def healthy() -> tuple[Setup, TrainingHistory]:
    setup = Setup()
    return setup, setup.history()


@pytest.mark.parametrize("test", MENU, ids=lambda t: t.name)
def test_every_test_runs_from_a_patient_and_keeps_its_price(test: Test, healthy: tuple[Setup, TrainingHistory]) -> None:
    setup, history = healthy
    model = copy.deepcopy(setup.model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    before = copy.deepcopy(model.state_dict())
    patient = Patient(model, CE, setup.train, history.diagnose(), setup.val, optimizer)
    result = test.run(patient)
    assert result.test == test.name
    assert result.outcome in ("passed", "noted", "failed", "unknown")
    assert set(result.causes) <= set(CAUSES)
    assert result.steps <= test.cost or not test.cost  # reading the data is not counted
    assert all(torch.equal(v, model.state_dict()[k]) for k, v in before.items())


def test_the_menu_speaks_the_vocabulary() -> None:
    assert {t.name for t in MENU} <= TESTS
    assert len({t.name for t in MENU}) == len(MENU)
    needed = {n for t in MENU for n in t.needs}
    assert needed == {"val_loader", "optimizer"}
    # Of overfit_subset the menu says why it is not there; nobody can log more afterwards.
    assert TESTS - {t.name for t in MENU} == {"overfit_subset", "log_more"}


def test_what_a_test_is_made_for_is_in_the_vocabulary() -> None:
    assert set(Test("check_data", says({}), 5).made_for) == {c for c, t in CAUSES.items() if t == "check_data"}


def test_raw_inputs_are_found() -> None:
    result = Setup(scale=1000.0, lr=0.02).workup()
    assert result.ranked[0][0] == "inputs-unscaled"
    assert result.posterior["inputs-unscaled"] > 3 * result.prior["inputs-unscaled"]
    assert result.actions[0].action == "normalize_inputs"


def test_a_frozen_model_is_found_by_the_cheapest_test() -> None:
    setup = Setup()
    setup.model.requires_grad_(False)
    result = setup.workup()
    assert result.cause == "frozen-or-detached"
    assert result.steps < 100


def test_a_healthy_model_is_not_called_sick(healthy: tuple[Setup, TrainingHistory]) -> None:
    setup, history = healthy
    result = workup(history, setup.model, CE, setup.train, setup.val, optimizer=setup.optimizer, progress=False)
    assert result.cause in (None, "normal")
    assert result.ranked[0][0] == "normal"


def test_the_budget_is_kept_by_real_tests() -> None:
    result = Setup().workup(budget=150)
    assert 0 < result.steps <= 150


def test_the_peak_rate_is_taken_where_the_end_has_none() -> None:
    steps = list(range(1, 41))
    history = TrainingHistory({"loss": (steps, [1.0 / s for s in steps]), "lr": (steps, [0.3] * 20 + [0.001] * 20)})
    setup = Setup()
    assert Patient(setup.model, CE, setup.train, history.diagnose()).rate == 0.3
    assert Patient(setup.model, CE, setup.train, TrainingHistory(loss=[1.0, 0.5]).diagnose()).rate is None


@pytest.mark.gpu
def test_cpu_and_gpu_agree(healthy: tuple[Setup, TrainingHistory]) -> None:
    setup, history = healthy
    results = []
    for device in ("cpu", "cuda"):
        model = copy.deepcopy(setup.model).to(device)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
        results.append(workup(history, model, CE, setup.train, setup.val, optimizer=optimizer, progress=False))
    cpu, gpu = results
    assert [s.test for s in cpu.tests][:3] == [s.test for s in gpu.tests][:3]
    assert abs(cpu.posterior["normal"] - gpu.posterior["normal"]) < 0.2
