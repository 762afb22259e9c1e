"""The tests that train leave no trace, bit for bit, however they end; and say the same on a GPU."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 -- its usual name
from torch.utils.data import DataLoader, TensorDataset

from lossdoctor.core.errors import UsageError, UserCodeError
from lossdoctor.probes import (
    check_initial_loss,
    overfit_one_batch,
    overfit_subset,
    random_input_test,
    shuffled_label_test,
)

torch.set_num_threads(1)
Ask = Callable[..., Any]


def start(model: nn.Module, loss_fn: Any, loader: Any, optimizer: Any, **options: Any) -> Any:  # noqa: ARG001
    return check_initial_loss(model, loss_fn, loader, **options)


ASKED: dict[str, Ask] = {
    "overfit_one_batch": lambda *a, **k: overfit_one_batch(*a, steps=12, **k),
    "overfit_subset": lambda *a, **k: overfit_subset(*a, n=20, steps=12, **k),
    "check_initial_loss": start,
    "random_input_test": lambda *a, **k: random_input_test(*a, steps=10, **k),
    "shuffled_label_test": lambda *a, **k: shuffled_label_test(*a, steps=10, shuffles=2, **k),
}


class Net(nn.Module):
    """Buffers, dropout, a frozen part, a tied weight and a cell."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(6, 8)
        self.norm = nn.BatchNorm1d(8)
        self.drop = nn.Dropout(0.4)
        self.cell = nn.GRU(8, 8, num_layers=2, dropout=0.3, batch_first=True)
        self.second = nn.Linear(8, 8)
        self.tied = nn.Linear(8, 8)
        self.tied.weight = self.second.weight
        self.frozen = nn.Linear(8, 8).requires_grad_(False)
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.drop(self.norm(self.first(x)))
        hidden = self.cell(hidden[:, None])[0][:, 0]
        out: Tensor = self.head(torch.tanh(self.frozen(self.tied(self.second(hidden)))))
        return out


class Run:
    """A run in the midst of its training: an optimizer with state, a schedule, gradients that wait."""

    def __init__(self, device: str = "cpu") -> None:
        torch.manual_seed(0)
        self.model = Net().to(device)
        groups = [{"params": self.model.first.parameters(), "lr": 0.02}]
        others = [p for n, p in self.model.named_parameters() if not n.startswith("first") and p.requires_grad]
        self.optimizer = torch.optim.AdamW([*groups, {"params": others}], lr=0.01, weight_decay=0.1)
        self.scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(self.optimizer, 50)
        self.loss_fn = nn.CrossEntropyLoss(label_smoothing=0.1)
        x = torch.randn(48, 6)
        self.loader = DataLoader(TensorDataset(x, (x[:, 0] > 0).long()), batch_size=8, shuffle=True)
        for number, (inputs, target) in enumerate(self.loader):
            loss = self.loss_fn(self.model(inputs.to(device)), target.to(device))
            loss.backward()
            if number < 3:  # the last gradients wait to be used
                self.optimizer.step()
                self.scheduler.step()
                self.optimizer.zero_grad()
        self.model.drop.eval()

    def state(self) -> Any:
        modules = [
            (n, m.training, {k: v for k, v in vars(m).items() if isinstance(v, float | int | str)})
            for n, m in self.model.named_modules()
        ]
        parameters = [(n, id(p), p.requires_grad, p.grad is None, id(p.grad)) for n, p in self.model.named_parameters()]
        groups = [{k: v for k, v in g.items() if k != "params"} for g in self.optimizer.param_groups]
        numpy = np.random.get_state()
        plain = (
            modules,
            parameters,
            groups,
            self.scheduler.state_dict(),
            random.getstate(),
            numpy[1].tolist(),
            numpy[2:],
        )
        held = [id(p) for p in self.optimizer.state], vars(self.loss_fn)["label_smoothing"], torch.is_grad_enabled()
        tensors = [*self.model.state_dict().values(), torch.get_rng_state()]
        tensors += [p.grad for p in self.model.parameters() if p.grad is not None]
        tensors += [t for s in self.optimizer.state.values() for t in s.values()]
        return repr((plain, held)), [t.detach().clone() for t in tensors]

    def ask(self, name: str, **options: Any) -> Any:
        loss_fn = options.pop("loss_fn", self.loss_fn)
        return ASKED[name](self.model, loss_fn, self.loader, self.optimizer, progress=False, **options)


def same(before: Any, after: Any) -> bool:
    if before[0] != after[0] or len(before[1]) != len(after[1]):
        return False
    return all(torch.equal(a, b) for a, b in zip(before[1], after[1], strict=True))


@pytest.mark.parametrize("name", ASKED)
@pytest.mark.parametrize("reset", [False, True])
def test_no_trace(name: str, reset: bool) -> None:
    run = Run()
    before = run.state()
    options = {} if not reset else {"reset": True}
    run.ask(name, **options)
    assert same(before, run.state())
    batches = [x for x, _ in run.loader]
    torch.set_rng_state(before[1][len(run.model.state_dict())])
    assert all(torch.equal(a, b) for a, (b, _) in zip(batches, run.loader, strict=True))


@pytest.mark.parametrize("name", ASKED)
@pytest.mark.parametrize("kind", [ValueError, KeyboardInterrupt])
@pytest.mark.parametrize("at", [1, 5])
def test_no_trace_when_the_users_code_raises(name: str, kind: Any, at: int) -> None:
    run = Run()
    before = run.state()
    calls = 0

    def loss_fn(output: Tensor, target: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        if calls >= at:
            raise kind("in the midst")
        return F.cross_entropy(output, target)

    with pytest.raises(UserCodeError if kind is ValueError else KeyboardInterrupt, match="in the midst"):
        run.ask(name, loss_fn=loss_fn)
    assert same(before, run.state())


@pytest.mark.parametrize("name", ASKED)
def test_it_says_the_same_twice(name: str) -> None:
    run = Run()
    first, second = run.ask(name), run.ask(name)
    assert first.verdict == second.verdict
    assert {**first.as_dict(), "seconds": 0} == {**second.as_dict(), "seconds": 0}


@pytest.mark.parametrize("name", ASKED)
def test_bad_input_is_named(name: str) -> None:
    run = Run()
    batch = torch.randn(8, 6), torch.zeros(8).long()
    for loader, message in (([], "the loader gave no batch"), (iter([batch]), "can be read only once")):
        with pytest.raises(UsageError, match=message):
            ASKED[name](run.model, run.loss_fn, loader, run.optimizer)
    with pytest.raises(UsageError, match="has no parameters"):
        ASKED[name](nn.ReLU(), run.loss_fn, [batch], None)
    with pytest.raises(UsageError, match=r"the loss has shape \(\d,\); it must be a scalar"):
        ASKED[name](run.model, nn.CrossEntropyLoss(reduction="none"), [batch] * 6, run.optimizer)


@pytest.mark.parametrize("name", ASKED)
def test_progress_is_told(name: str) -> None:
    run = Run()
    seen: list[tuple[int, int]] = []
    ASKED[name](
        run.model, run.loss_fn, run.loader, run.optimizer, progress=lambda done, total: seen.append((done, total))
    )
    assert seen
    assert all(0 < done <= total for done, total in seen)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("name", ASKED)
def test_a_gpu_says_what_the_cpu_says(name: str) -> None:
    here, there = Run(), Run("cuda")
    there.model.load_state_dict(here.model.state_dict())
    before = there.state()
    first, second = here.ask(name), there.ask(name)
    assert same(before, there.state())
    assert first.outcome == second.outcome
    for key in ("start", "best", "initial", "real", "swapped", "gain"):
        if hasattr(first, key):
            assert getattr(second, key) == pytest.approx(getattr(first, key), rel=1e-2, abs=1e-3)
