"""Norms against the naive loop, one parameter after the other, in float64."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from lossdoctor.core.errors import UsageError
from lossdoctor.torchkit import norms as module
from lossdoctor.torchkit.norms import UpdateMeter, gradient_norms, parameter_norms, tensor_norms


def net() -> nn.Module:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 7), nn.ReLU(), nn.Sequential(nn.Linear(7, 3), nn.Tanh()), nn.Linear(3, 2))
    model[3].weight.requires_grad_(False)
    model(torch.randn(4, 5)).square().sum().backward()
    model[2][0].bias.grad = None
    return model


def naive(tensor: torch.Tensor) -> float:
    return float(tensor.detach().to_dense().double().norm())


def test_gradients_like_the_naive_loop() -> None:
    model = net()
    found = gradient_norms(model).result()
    expected = {n: naive(p.grad) for n, p in model.named_parameters() if p.grad is not None}
    assert found.as_dict() == pytest.approx(expected, rel=1e-6)
    assert found.missing == ("2.0.bias",)
    assert found.total == pytest.approx(math.sqrt(sum(v**2 for v in expected.values())))
    assert found.total == pytest.approx(float(nn.utils.get_total_norm([p.grad for p in model.parameters() if p.grad is not None])))  # fmt: skip  # noqa: E501
    assert found.by_layer()["0"] == pytest.approx(math.hypot(expected["0.weight"], expected["0.bias"]))
    assert set(found.by_layer()) == {"0", "2.0", "3"}
    assert set(found.by_layer(1)) == {"0", "2", "3"}
    assert found.nonfinite == ()


def test_one_kernel_and_one_transfer(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    real = torch._foreach_norm
    monkeypatch.setattr(module.torch, "_foreach_norm", lambda *a, **k: (calls.append(len(a[0])), real(*a, **k))[1])
    pending = gradient_norms(net())
    assert calls == [4]
    assert pending.ready()
    assert len(pending._hosts) == 1


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_low_precision_is_accumulated_in_float32(dtype: torch.dtype) -> None:
    tensor = torch.full((100_000,), 60.0, dtype=dtype)  # its square sum overflows float16, and stalls in bfloat16
    found = tensor_norms({"w": tensor, "x": torch.ones(4)}).result().values
    assert found.tolist() == pytest.approx([60.0 * math.sqrt(100_000), 2.0], rel=1e-5)


def test_finite_values_whose_squares_overflow_are_finite() -> None:
    found = tensor_norms({"a": torch.full((4,), 1e30), "b": torch.ones(1), "c": torch.tensor([math.nan])}).result()
    assert found.values[:2].tolist() == pytest.approx([2e30, 1.0])
    assert found.nonfinite == ("c",)


def test_sparse_complex_empty_and_double() -> None:
    table = nn.Embedding(6, 2, sparse=True)
    table(torch.tensor([1, 1, 3])).sum().backward()
    assert table.weight.grad is not None
    before = table.weight.grad._nnz()
    assert gradient_norms(table).result().total == pytest.approx(naive(table.weight.grad))  # duplicates add up first
    assert table.weight.grad._nnz() == before
    tensors = {
        "complex": torch.tensor([3 + 4j]), "empty": torch.empty(0),
        "double": torch.full((2,), 1e200, dtype=torch.float64),
        "csr": torch.eye(4).to_sparse_csr(),
    }  # fmt: skip
    assert tensor_norms(tensors).result().values.tolist() == pytest.approx([5.0, 0.0, math.sqrt(2) * 1e200, 2.0])
    assert tensor_norms({}).result().total == 0.0
    assert gradient_norms(nn.Identity()).result().names == ()


def test_distributed_tensors_count_their_shard() -> None:
    class Sharded(torch.Tensor):
        @staticmethod
        def to_local() -> torch.Tensor:
            return torch.tensor([3.0, 4.0])

    assert tensor_norms({"w": torch.zeros(9).as_subclass(Sharded)}).result().total == 5.0


@given(st.lists(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=9), min_size=1, max_size=6))
def test_any_values(rows: list[list[float]]) -> None:
    found = tensor_norms({str(i): torch.tensor(row, dtype=torch.float64) for i, row in enumerate(rows)}).result()
    assert found.values.tolist() == pytest.approx([float(np.linalg.norm(row)) for row in rows], rel=1e-9)


def test_parameters_and_compiled_names() -> None:
    model = net()
    plain = parameter_norms(model).result().as_dict()
    assert plain == {n: pytest.approx(naive(p)) for n, p in model.named_parameters()}
    assert parameter_norms(torch.compile(model, backend="eager")).result().as_dict() == plain


def test_update_ratios() -> None:
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    meter = UpdateMeter(model)
    with pytest.raises(UsageError, match="before"):
        meter.after()
    for _ in range(2):
        old = {n: p.detach().clone() for n, p in model.named_parameters()}
        meter.before()
        optimizer.step()
        found = meter.after().result()
        for name, ratio in zip(found.names, found.values, strict=True):
            moved = dict(model.named_parameters())[name] - old[name]
            assert ratio == pytest.approx(naive(moved) / naive(old[name]), rel=1e-4)
        assert 0 < found.total < 1
    nn.init.zeros_(model[0].bias)
    meter.before()
    assert np.isnan(meter.after().result().values[1])


def test_nothing_is_changed() -> None:
    model = net()
    before = [p.grad.clone() for p in model.parameters() if p.grad is not None]
    state = torch.get_rng_state()
    gradient_norms(model).result()
    assert all(torch.equal(a, p.grad) for a, p in zip(before, (p for p in model.parameters() if p.grad is not None), strict=True))  # fmt: skip  # noqa: E501
    assert torch.equal(state, torch.get_rng_state())


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_a_gpu_nothing_waits() -> None:
    model = net().cuda()
    model(torch.randn(4, 5, device="cuda")).square().sum().backward()
    torch.cuda.set_sync_debug_mode("error")
    try:
        pending = gradient_norms(model)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    expected = {n: naive(p.grad) for n, p in model.named_parameters() if p.grad is not None}
    assert pending.result().as_dict() == pytest.approx(expected, rel=1e-5)
