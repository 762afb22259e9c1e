"""Everything that a body can do to a training run is undone, bit for bit."""

from __future__ import annotations

import os
import random
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations
from torch.utils.data import DataLoader, RandomSampler, TensorDataset

from lossdoctor.core.errors import UsageError
from lossdoctor.torchkit.state import preserved

OPTIMIZERS: dict[str, Callable[[Any], torch.optim.Optimizer]] = {
    "sgd": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9),
    "adam": lambda p: torch.optim.Adam(p, lr=0.01, amsgrad=True),
    "adam_tensor_lr": lambda p: torch.optim.Adam(p, lr=torch.tensor(0.01), capturable=False, foreach=False),
    "lbfgs": lambda p: torch.optim.LBFGS(p, lr=0.1, max_iter=3),
    "rprop": lambda p: torch.optim.Rprop(p, lr=0.01),
}


class Net(nn.Module):
    """Tied weights, batch norm, dropout, a parametrization, a frozen parameter, an expanded and a plain tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(4, 4)
        self.norm = nn.BatchNorm1d(4)
        self.drop = nn.Dropout(0.3)
        self.tied = nn.Linear(4, 4)
        self.tied.weight = self.first.weight
        self.spectral = parametrizations.spectral_norm(nn.Linear(4, 4))
        self.frozen = nn.Parameter(torch.randn(4), requires_grad=False)
        self.register_buffer("stretched", torch.randn(4, 1).expand(4, 4))
        self.register_buffer("passing", torch.randn(2), persistent=False)
        self.hidden = [torch.randn(3)]

    def forward(self, x: Tensor) -> Tensor:
        self.hidden[0] += 1
        x = self.drop(self.norm(self.first(x)))
        return self.spectral(self.tied(x)) * self.frozen + self.stretched.mean()


def fingerprint(value: Any) -> Any:
    """Contents as bytes, with the identities of the tensors, of anything that a run holds."""
    if isinstance(value, Tensor):
        grad = fingerprint(value.grad) if value.is_leaf and value.grad is not None else None
        dense = value.detach().to_dense().reshape(-1).contiguous()
        return id(value), value.dtype, value.requires_grad, dense.view(torch.uint8).numpy().tobytes(), grad
    if isinstance(value, nn.Module):
        modules = {n: (type(m), m.training, getattr(m, "p", None)) for n, m in value.named_modules()}
        held = {n: list(vars(m).get("_forward_hooks", {})) for n, m in value.named_modules()}
        extra = [h for m in value.modules() for h in getattr(m, "hidden", [])]
        tensors = [*value.named_parameters(remove_duplicate=False), *value.named_buffers(remove_duplicate=False)]
        return modules, held, fingerprint(dict(tensors)), fingerprint(extra)
    if isinstance(value, torch.optim.Optimizer):
        return fingerprint([(id(k), v) for k, v in value.state.items()]), fingerprint(value.param_groups)
    if isinstance(value, dict):
        return {k: fingerprint(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [fingerprint(v) for v in value]
    return value


def generators() -> Any:
    state = np.random.get_state()
    return random.getstate(), state[1].tobytes(), state[2], torch.get_rng_state().numpy().tobytes()  # type: ignore[index,union-attr]


def train(model: nn.Module, optimizer: torch.optim.Optimizer, steps: int = 2) -> None:
    for _ in range(steps):

        def closure() -> Tensor:
            optimizer.zero_grad()
            loss = model(torch.randn(8, 4)).square().mean()
            loss.backward()
            return loss

        optimizer.step(closure)


@pytest.mark.parametrize("warm", [0, 2], ids=["lazy", "warm"])
@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("how", [None, ValueError, KeyboardInterrupt])
def test_training_leaves_no_trace(name: str, warm: int, how: type[BaseException] | None) -> None:
    torch.manual_seed(0)
    model = Net()
    optimizer = OPTIMIZERS[name]([p for p in model.parameters() if p.requires_grad])
    scheduler = torch.optim.lr_scheduler.SequentialLR(
        optimizer,
        [torch.optim.lr_scheduler.LinearLR(optimizer), torch.optim.lr_scheduler.StepLR(optimizer, 1)],
        milestones=[2],
    )
    train(model, optimizer, warm)
    before = fingerprint(model), fingerprint(optimizer), generators(), scheduler.state_dict()["last_epoch"]

    def body() -> None:
        with preserved(model, optimizer, scheduler):
            train(model, optimizer, 3)
            for _ in range(4):
                scheduler.step()
            optimizer.param_groups[0]["weight_decay"] = 7.0
            optimizer.add_param_group({"params": [nn.Parameter(torch.zeros(2))]})
            model.eval()
            model.drop.p = 0.0
            model.frozen.requires_grad_(True)
            model.hidden.append(torch.zeros(1))
            model.first.register_forward_hook(lambda *_: None)
            random.random(), np.random.rand()
            assert fingerprint(model) != before[0]
            if how is not None:
                raise how

    if how is None:
        body()
    else:
        with pytest.raises(how):
            body()
    after = fingerprint(model), fingerprint(optimizer), generators(), scheduler.state_dict()["last_epoch"]
    assert after == before
    assert model.tied.weight is model.first.weight


def test_a_run_goes_on_as_if_nothing_had_been() -> None:
    def run(interrupted: bool) -> list[Tensor]:
        torch.manual_seed(1)
        model = Net()
        optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad])
        scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=20)
        for step in range(8):
            if interrupted and step == 4:
                with preserved(model, optimizer, scheduler):
                    train(model, optimizer, 5)
                    scheduler.step()
            train(model, optimizer, 1)
            scheduler.step()
        return list(model.parameters())

    assert all(torch.equal(a, b) for a, b in zip(run(False), run(True), strict=True))


def test_structure_and_dtype_come_back() -> None:
    model = Net()
    weight, before = model.first.weight, fingerprint(model)
    with preserved(model):
        model.double().half()
        model.first.weight = nn.Parameter(torch.zeros(4, 4))
        model.extra = nn.Linear(1, 1)
        del model.passing
        parametrizations.weight_norm(model.tied)
        torch.nn.utils.parametrize.remove_parametrizations(model.spectral, "weight")
    assert fingerprint(model) == before
    assert model.first.weight is weight
    assert not hasattr(model, "extra")


def test_payloads_of_nan_are_kept() -> None:
    odd = torch.tensor([0x7FC12345, -1, 0x7F800001], dtype=torch.int32).view(torch.float32)
    kept = odd.clone().view(torch.int32)
    with preserved(odd):
        odd.zero_()
    assert torch.equal(odd.view(torch.int32), kept)


def test_sparse_gradients_and_inference_tensors() -> None:
    table = nn.Embedding(10, 3, sparse=True)
    table(torch.tensor([1, 1, 4])).sum().backward()
    with torch.inference_mode():
        table.register_buffer("counts", torch.ones(3))
    gradient, before = table.weight.grad, fingerprint(table)
    with preserved(table):
        table(torch.tensor([2])).sum().backward()
        with torch.inference_mode():
            table.counts.zero_()  # type: ignore[operator]
    assert table.weight.grad is gradient
    assert fingerprint(table) == before


def test_a_graph_from_before_is_still_good() -> None:
    model = nn.Linear(3, 1)
    x = torch.randn(2, 3)
    loss = torch.tanh(model(x)).sum()
    expected = torch.autograd.grad(loss, model.weight, retain_graph=True)[0]
    with preserved(model):
        model(x).sum().backward()
    loss.backward()
    assert model.weight.grad is not None
    assert torch.equal(model.weight.grad, expected)


def test_compiled_and_parallel_models() -> None:
    model = Net()
    compiled = torch.compile(model, backend="eager")
    optimizer = torch.optim.Adam([p for p in compiled.parameters() if p.requires_grad])
    before = fingerprint(model), fingerprint(optimizer)
    with preserved(compiled, optimizer):
        train(compiled, optimizer)
        compiled.eval()
    assert (fingerprint(model), fingerprint(optimizer)) == before
    wrapped = nn.DataParallel(model)
    with preserved(wrapped):
        nn.init.zeros_(model.first.weight)
    assert fingerprint(model) == before[0]


def test_gradient_scaler() -> None:
    scaler = torch.amp.GradScaler("cpu", init_scale=4.0, growth_interval=1)
    model = nn.Linear(2, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

    def step() -> None:
        scaler.scale(model(torch.ones(1, 2)).sum()).backward()
        scaler.step(optimizer)
        scaler.update()

    with preserved(model, optimizer, scaler):
        step()
        assert scaler.get_scale() == 8.0
    assert scaler.state_dict()["scale"] == 4.0
    step()
    assert scaler.get_scale() == 8.0


def test_a_loader_gives_the_same_batches() -> None:
    data = TensorDataset(torch.arange(20))
    own = RandomSampler(data, generator=torch.Generator().manual_seed(3))
    for loader in (
        DataLoader(data, 5, shuffle=True, generator=torch.Generator().manual_seed(2)),
        DataLoader(data, 5, sampler=own),
        DataLoader(data, sampler=torch.utils.data.BatchSampler(own, 5, False), batch_size=None),
    ):
        with preserved(loader):
            first = [batch[0].tolist() for batch in loader]
        assert [batch[0].tolist() for batch in loader] == first
        assert [batch[0].tolist() for batch in loader] != first


def test_flags_come_back() -> None:
    assert torch.is_grad_enabled()
    with preserved():
        torch.backends.cudnn.benchmark = True
        torch.backends.cudnn.deterministic = True
        torch.use_deterministic_algorithms(True, warn_only=True)
        torch.set_grad_enabled(False)
    assert not torch.backends.cudnn.benchmark
    assert not torch.are_deterministic_algorithms_enabled()
    assert torch.is_grad_enabled()


@pytest.fixture
def ctrl_c() -> Iterator[None]:
    """Ctrl-C as a terminal has it: a shell that starts tests in the background lets them ignore it."""
    found = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, found)


@pytest.mark.usefixtures("ctrl_c")
def test_ctrl_c_in_the_middle_of_the_restoration_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    model = Net()
    before = fingerprint(model)
    copy, pressed = Tensor.copy_, []

    def slow_copy(self: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        if not pressed:
            pressed.append(1)
            os.kill(os.getpid(), signal.SIGINT)
        return copy(self, *args, **kwargs)

    monkeypatch.setattr(Tensor, "copy_", slow_copy)
    with pytest.raises(KeyboardInterrupt), preserved(model):
        nn.init.zeros_(model.first.weight)
    assert pressed
    assert fingerprint(model) == before
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_other_threads() -> None:
    model, failures = nn.Linear(2, 1), []

    def work() -> None:
        try:
            with preserved(model):
                nn.init.zeros_(model.weight)
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert not failures
    assert bool(model.weight.any())


def test_one_part_that_fails_does_not_keep_the_others() -> None:
    class Stubborn:
        def state_dict(self) -> dict[str, int]:
            return {}

        def load_state_dict(self, _: dict[str, int]) -> None:
            raise RuntimeError("will not go back")

    model = nn.Linear(2, 1)
    with pytest.raises(RuntimeError, match="will not go back"), preserved(model, Stubborn()):
        nn.init.zeros_(model.weight)
    assert bool(model.weight.any())


@pytest.fixture
def _quiet_lazy() -> Iterator[None]:
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@pytest.mark.usefixtures("_quiet_lazy")
def test_what_cannot_be_preserved_is_named() -> None:
    with pytest.raises(UsageError, match="cannot preserve a int"), preserved(3):
        pass
    with pytest.raises(UsageError, match="run one batch"), preserved(nn.LazyLinear(2)):
        pass
    with preserved(None, nn.Identity()):  # nothing to restore is no error
        pass
