"""A watch leaves no trace: in numbers, generators, graphs, copies, memory, and when something of it fails."""

from __future__ import annotations

import copy
import gc
import io
import pickle
import weakref
from pathlib import Path
from typing import Any

import pytest
import torch

import lossdoctor
from lossdoctor.live.watching import optimizer as watch_optimizer
from lossdoctor.live.watching.watch import Watch
from tests.live.watching.watched_models import Notes, backward, batch, net

OPTIMIZERS: dict[str, Any] = {
    "sgd": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True, weight_decay=1e-3),
    "sgd fused": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, fused=True),
    "adam": lambda p: torch.optim.Adam(p, lr=0.01),
    "adam foreach": lambda p: torch.optim.Adam(p, lr=0.01, foreach=True, amsgrad=True, weight_decay=0.1),
    "adamw fused": lambda p: torch.optim.AdamW(p, lr=0.01, fused=True),
    "rmsprop": lambda p: torch.optim.RMSprop(p, lr=0.01, centered=True),
    "adagrad": lambda p: torch.optim.Adagrad(p, lr=0.05),
    "rprop": lambda p: torch.optim.Rprop(p, lr=0.01, maximize=True),
    "lbfgs": lambda p: torch.optim.LBFGS(p, lr=0.5, max_iter=5, line_search_fn="strong_wolfe"),
}


def train(watch: bool, optimizer: str, amp: bool, dtype: torch.dtype = torch.float32) -> dict[str, Any]:
    """A training with dropout, random batches and a scheduler; everything that it leaves behind."""
    model = net(40, dropout=0.3).to(dtype)
    made = OPTIMIZERS[optimizer](model.parameters())
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(made, 20)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**14, growth_interval=4, enabled=amp)
    watched = Watch(Notes(), model, made, scaler=scaler, every=1) if watch else None
    torch.manual_seed(5)
    losses = []
    for step in range(12):
        x = torch.randn(8, 6, dtype=dtype)

        def closure(x: torch.Tensor = x, step: int = step) -> torch.Tensor:
            made.zero_grad()
            with torch.autocast("cpu", torch.bfloat16, enabled=amp):
                loss: torch.Tensor = model(x).square().mean()
            (scaler.scale(loss) * (torch.inf if amp and step == 5 else 1.0)).backward()
            return loss

        if optimizer == "lbfgs":
            losses.append(float(made.step(closure).detach()))
        else:
            losses.append(float(closure().detach()))
            scaler.step(made)
            scaler.update()
        scheduler.step()
        if watched is not None:
            assert "learning_rate" in watched.collect()
    return {
        "weights": model.state_dict(),
        "optimizer": made.state_dict()["state"],
        "grads": [p.grad for p in model.parameters()],
        "losses": losses,
        "random": torch.get_rng_state(),
        "scaler": scaler.state_dict(),
    }


def same(a: Any, b: Any) -> bool:
    if isinstance(a, torch.Tensor):
        return bool(torch.equal(a, b))
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    return bool(a == b)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_trainings_end_bit_for_bit_the_same(optimizer: str) -> None:
    without, within = train(False, optimizer, False), train(True, optimizer, False)
    assert {k: same(without[k], within[k]) for k in without} == dict.fromkeys(without, True)


@pytest.mark.parametrize("optimizer", ["sgd", "adamw fused"])
def test_with_mixed_precision_too(optimizer: str) -> None:
    without, within = train(False, optimizer, True), train(True, optimizer, True)
    assert {k: same(without[k], within[k]) for k in without} == dict.fromkeys(without, True)


def test_in_low_precision_too() -> None:
    without, within = (train(w, "adam", False, torch.bfloat16) for w in (False, True))
    assert {k: same(without[k], within[k]) for k in without} == dict.fromkeys(without, True)


@pytest.mark.parametrize("compiled_step", [False, True])
def test_compiled_models_keep_their_graphs(compiled_step: bool) -> None:
    def graphs(watch: bool) -> tuple[int, int, dict[str, torch.Tensor], list[dict[str, float]]]:
        torch._dynamo.reset()
        torch._dynamo.utils.counters.clear()
        compiled: list[Any] = []

        def backend(graph: Any, example: Any) -> Any:
            del example
            compiled.append(graph)
            return graph.forward

        plain = net()
        model = torch.compile(plain, backend=backend)
        optimizer = torch.optim.SGD(plain.parameters(), lr=0.1)
        watched = Watch(Notes(), model, optimizer, every=1) if watch else None
        rows = []
        take = torch.compile(optimizer.step, backend=backend) if compiled_step else optimizer.step
        for _ in range(3):
            optimizer.zero_grad()
            backward(model)
            take()
            rows.append(watched.collect() if watched is not None else {})
        forward = sum(any("linear" in str(n.target) for n in g.graph.nodes) for g in compiled)
        return forward, len(compiled), plain.state_dict(), rows

    without, within = graphs(False), graphs(True)
    assert without[0] == within[0] == 1  # one graph of the model, compiled once
    assert same(without[2], within[2])
    assert all("grad_norm/3.weight" in row for row in within[3])  # by the plain names


def test_a_model_may_be_copied_and_pickled_while_it_is_watched() -> None:
    model = net()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
    notes = Notes()
    Watch(notes, model, optimizer, every=1)
    backward(model)
    optimizer.step()
    file = io.BytesIO()
    torch.save({"model": model, "optimizer": optimizer}, file)
    file.seek(0)
    loaded = torch.load(file, weights_only=False)
    for one, its in (
        (copy.deepcopy(model), None),
        copy.deepcopy((model, optimizer)),
        pickle.loads(pickle.dumps((model, optimizer))),
        (loaded["model"], loaded["optimizer"]),
    ):
        assert same(one.state_dict(), model.state_dict())
        assert not one._forward_hooks
        if its is not None:
            backward(one)
            its.step()
    assert len(notes.asked) == 1  # the copies are not watched


def test_a_watch_keeps_neither_model_nor_optimizer_alive() -> None:
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    notes = Notes()
    watch = Watch(notes, model, optimizer, every=1)
    backward(model)
    optimizer.step()
    notes.stepped.clear()
    dead = [weakref.ref(model), weakref.ref(optimizer), weakref.ref(model[0].weight)]
    del model, optimizer
    gc.collect()
    assert [ref() for ref in dead] == [None] * 3
    assert "grad_norm" in watch.collect()  # of the step that was taken
    assert watch.collect() == {}


def test_close_and_finish_remove_all_hooks(tmp_path: Path) -> None:
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with lossdoctor.Monitor(tmp_path) as monitor:
        watch = monitor.watch(model, optimizer, every=1)
        backward(model)
        optimizer.step()
        monitor.log(0, loss=1.0, param_norm=-1.0)
        assert optimizer._optimizer_step_pre_hooks
    assert not optimizer._optimizer_step_pre_hooks
    assert not optimizer._optimizer_step_post_hooks
    assert watch.closed
    assert watch.collect() == {}
    watch.close()
    (history,) = lossdoctor.read(tmp_path)
    assert {"grad_norm", "grad_norm/0.weight", "update_ratio", "learning_rate"} <= set(history.curves)
    assert history.curves["param_norm"].values.tolist() == [-1.0]  # what the user logs under a name wins


def test_a_failure_ends_the_watch_and_not_the_training(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LOSSDOCTOR_RAISE", raising=False)

    def broken(*_: Any, **__: Any) -> Any:
        raise RuntimeError("no such thing")

    model = net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    before = copy.deepcopy(model.state_dict())
    notes = Notes()
    watch = Watch(notes, model, optimizer, every=1)
    monkeypatch.setattr(watch_optimizer, "Gauge", broken)
    backward(model)
    optimizer.step()
    optimizer.step()
    assert not same(before, model.state_dict())
    assert watch.closed
    assert len(notes.events) == 1
    assert notes.events[0][0] == "internal_error"
    assert "no such thing" in notes.events[0][1]


def test_errors_of_the_training_pass() -> None:
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    watch = Watch(Notes(), model, optimizer, every=1)

    def closure() -> torch.Tensor:
        raise ValueError("the user's own")

    with pytest.raises(ValueError, match="the user's own"):
        optimizer.step(closure)
    backward(model)
    optimizer.step()
    assert "grad_norm" in watch.collect()


class Accelerated(torch.optim.Optimizer):
    """As Accelerate wraps an optimizer: an Optimizer without hooks of its own."""

    def __init__(self, optimizer: torch.optim.Optimizer, scaler: Any) -> None:  # its parent is not initialised
        self.optimizer, self.scaler = optimizer, scaler

    @property
    def param_groups(self) -> Any:  # type: ignore[override]
        return self.optimizer.param_groups

    def step(self, closure: Any = None) -> Any:
        return self.optimizer.step(closure)


class Lightning:
    """As Lightning wraps one: a class made of the optimizer's own, that holds it."""

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        self._optimizer = optimizer

    def step(self, closure: Any = None) -> Any:
        return self._optimizer.step(closure)


def test_wrapped_optimizers_are_found() -> None:
    model = net()
    plain = torch.optim.SGD(model.parameters(), lr=0.1)
    scaler = torch.amp.GradScaler("cpu", init_scale=8.0)
    for wrapped in (Accelerated(plain, scaler), Lightning(plain), Lightning(Accelerated(plain, scaler))):
        watch = Watch(Notes(), model, wrapped, every=1)
        backward(model)
        wrapped.step()
        row = watch.collect()
        assert row["grad_norm"] > 0
        assert row.get("loss_scale") == (8.0 if isinstance(wrapped, Accelerated) else None)
        watch.close()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("amp", [False, True])
def test_on_a_gpu_nothing_waits(amp: bool) -> None:
    model = net(256).cuda()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01, fused=True)
    scaler = torch.amp.GradScaler("cuda", init_scale=16.0, enabled=amp)
    watch = Watch(Notes(), model, optimizer, scaler=scaler, every=1)
    x = batch().cuda()
    rows = []
    for warm in (True, False, False):
        if not warm:
            torch.cuda.set_sync_debug_mode("error")
        try:
            optimizer.zero_grad()
            scaler.scale(model(x).square().mean()).backward()
            optimizer.step()
            rows.append(watch.collect())
        finally:
            torch.cuda.set_sync_debug_mode("default")
    rows.append(watch.collect(wait=True))
    assert not watch.closed
    assert any("grad_norm" in row and "dead_units" in row and "update_ratio" in row for row in rows)
