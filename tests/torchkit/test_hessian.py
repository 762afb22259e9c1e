"""Products and spectra against the whole Hessian matrix of small nets, and their bounds on larger ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F  # noqa: N812 -- its usual name

from lossdoctor.core.errors import UsageError
from lossdoctor.torchkit.hessian import Hessian
from lossdoctor.torchkit.objective import objective
from lossdoctor.torchkit.spectrum import extreme_eigenvalue, trace


def small(seed: int = 0, dtype: torch.dtype = torch.float64, hidden: int = 5) -> tuple[nn.Module, Callable[[], Tensor]]:
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(4, hidden), nn.Tanh(), nn.Linear(hidden, 3)).to(dtype)
    x, y = torch.randn(30, 4, dtype=dtype), torch.randint(0, 3, (30,))
    return model, lambda: F.cross_entropy(model(x), y)


def matrix(model: nn.Module, loss: Callable[[], Tensor]) -> Tensor:
    """The Hessian, column by column, by torch's own functional transform (independent of ours)."""
    names = [n for n, _ in model.named_parameters()]
    shapes = [p.shape for p in model.parameters()]
    sizes = [p.numel() for p in model.parameters()]
    flat = torch.cat([p.detach().reshape(-1) for p in model.parameters()])

    class Wrapped(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self) -> Tensor:
            return loss()

    def at(point: Tensor) -> Tensor:
        pieces = [v.view(s) for v, s in zip(point.split(sizes), shapes, strict=True)]
        return functional_call(Wrapped(), {f"model.{n}": v for n, v in zip(names, pieces, strict=True)}, ())

    return torch.autograd.functional.hessian(at, flat)


@pytest.mark.parametrize("seed", range(3))
def test_products_are_columns_of_the_matrix(seed: int) -> None:
    model, loss = small(seed)
    expected = matrix(model, loss)
    hessian = Hessian(loss, model.parameters())
    ours = torch.stack([hessian.product(column) for column in torch.eye(hessian.size, dtype=torch.float64)])
    assert torch.allclose(ours, expected, atol=1e-12)
    g = hessian.gradient
    assert hessian.gradient_curvature() == pytest.approx(float(g @ expected @ g / (g @ g)), rel=1e-10)
    assert all(p.grad is None for p in model.parameters())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("hidden", [5, 12], ids=["whole-matrix", "lanczos"])
def test_extreme_eigenvalues(hidden: int, dtype: torch.dtype) -> None:
    model, loss = small(hidden, dtype, hidden=hidden)
    exact = torch.linalg.eigvalsh(matrix(model, loss).double())
    hessian = Hessian(loss, model.parameters())
    for which, expected in (("largest", float(exact[-1])), ("smallest", float(exact[0]))):
        off = []
        for seed in range(10 if hidden > 5 else 1):
            found = extreme_eigenvalue(hessian, which, seed=seed)  # type: ignore[arg-type]
            assert found.converged
            assert float((exact - found.value).abs().min()) <= found.residual + 1e-6
            again = hessian.product(found.vector).double()
            assert float(found.vector.norm()) == pytest.approx(1.0)
            assert float((again - found.value * found.vector).norm()) == pytest.approx(found.residual, abs=1e-5)
            off.append(abs(found.value / expected - 1))
        assert np.sort(off)[: max(1, len(off) - 1)].max() <= 1e-3


@pytest.mark.parametrize("steps", [0, 60])
def test_a_larger_net_within_sixteen_products(steps: int) -> None:
    torch.manual_seed(steps)
    x = torch.randn(200, 30)
    y = (x[:, :10] @ torch.randn(10, 10)).argmax(1)
    model = nn.Sequential(nn.Linear(30, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.2)
    for _ in range(steps):
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
    hessian = Hessian(lambda: F.cross_entropy(model(x), y), model.parameters())
    exact = extreme_eigenvalue(hessian, tolerance=1e-9, max_products=100).value
    for seed in range(3):
        calls: list[tuple[int, int]] = []
        found = extreme_eigenvalue(hessian, seed=seed, max_products=16, progress=lambda *c, to=calls: to.append(c))
        assert calls[-1] == (found.products, 16)
        assert abs(found.value / exact - 1) <= max(1e-3, found.error / exact)
        assert found.error >= abs(found.value - exact)


def test_a_spent_budget_is_said() -> None:
    model, loss = small()
    found = extreme_eigenvalue(Hessian(loss, model.parameters()), tolerance=1e-6, max_products=3)
    assert found.products == 3
    assert not found.converged
    assert found.error > 1e-6 * found.value


def test_global_generators_are_left_alone() -> None:
    model, loss = small()
    torch.manual_seed(5), np.random.seed(5)
    before = torch.get_rng_state(), np.random.get_state()[1].copy()  # type: ignore[index,union-attr]
    hessian = Hessian(lambda: loss() + F.dropout(model[0].weight, 0.5).square().sum(), model.parameters())  # type: ignore[index]
    extreme_eigenvalue(hessian)
    trace(hessian, 3)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.array_equal(np.random.get_state()[1], before[1])  # type: ignore[index]


def test_batches_give_the_hessian_of_their_mean() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 1)).double()
    x, y = torch.randn(25, 4).double(), torch.randn(25, 1).double()
    pairs = [(x[:10], y[:10]), (x[10:20], y[10:20]), (x[20:], y[20:])]
    one = Hessian(lambda: F.mse_loss(model(x), y), model.parameters())
    many = Hessian(objective(model, F.mse_loss, pairs), model.parameters())
    v = torch.randn(one.size).double()
    assert torch.allclose(one.product(v), many.product(v))
    assert torch.allclose(one.gradient, many.gradient)
    assert many.loss == pytest.approx(one.loss)


def test_dropout_masks_stay_over_batches() -> None:
    model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Dropout(0.5), nn.Linear(8, 1))
    pairs = [(torch.randn(6, 4), torch.randn(6, 1)) for _ in range(2)]
    hessian = Hessian(objective(model, F.mse_loss, pairs), model.parameters())
    v = torch.randn(hessian.size)
    assert torch.equal(hessian.product(v), hessian.product(v))


def test_trace_within_its_standard_error() -> None:
    model, loss = small()
    exact = float(matrix(model, loss).trace())
    hessian = Hessian(loss, model.parameters())
    off = []
    for seed in range(40):
        estimate = trace(hessian, 16, seed=seed)
        off.append((estimate.value - exact) / estimate.standard_error)
    assert abs(np.mean(off)) < 0.6  # unbiased: the mean of 40 has a spread of about 0.16
    assert 0.6 < np.std(off) < 1.6  # and the error is neither claimed too small nor too large
    assert np.isnan(trace(hessian, 1).standard_error)


def test_frozen_tied_and_unused_parameters() -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.Tanh(), nn.Linear(3, 3), nn.Linear(3, 3)).double()
    model[2].weight = model[0].weight
    model[3].weight.requires_grad_(False)
    x = torch.randn(5, 3).double()
    hessian = Hessian(lambda: model[2](model[1](model[0](x))).square().sum(), list(model.parameters()) * 2)
    assert hessian.size == 9 + 3 + 3 + 3  # the last bias is trainable but unused
    v = torch.randn(hessian.size).double()
    u = torch.randn(hessian.size).double()
    assert float(u @ hessian.product(v)) == pytest.approx(float(v @ hessian.product(u)))
    assert not hessian.product(v)[-3:].any()


def test_linear_and_constant_losses_have_a_zero_hessian() -> None:
    for size in (5, 40):
        w = torch.ones(size, requires_grad=True)
        for loss in (lambda w=w: w.sum(), lambda: torch.tensor(1.0)):
            hessian = Hessian(loss, [w])
            found = extreme_eigenvalue(hessian)
            assert (found.value, found.converged) == (0.0, True)
            assert trace(hessian, 2).value == 0.0


def test_low_rank_spectra() -> None:
    w = torch.randn(100, dtype=torch.float64, requires_grad=True)
    a = torch.randn(100, dtype=torch.float64)
    found = extreme_eigenvalue(Hessian(lambda: (a @ w) ** 2, [w]))
    assert found.converged
    assert found.value == pytest.approx(2 * float(a @ a))
    assert extreme_eigenvalue(Hessian(lambda: w @ w, [w])).value == pytest.approx(2.0)


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.Linear(8, 24)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (t.view(2, 5, 2, 4).transpose(1, 2) for t in self.mix(x).chunk(3, -1))
        return F.scaled_dot_product_attention(q, k, v)


def test_fused_attention_recurrent_and_compiled_nets() -> None:
    x = torch.randn(2, 5, 8)
    attention = Attention()
    hessian = Hessian(lambda: attention(x).square().mean(), attention.parameters())
    assert float(hessian.product(torch.randn(hessian.size)).norm()) > 0
    recurrent = nn.LSTM(8, 4, batch_first=True)
    assert np.isfinite(Hessian(lambda: recurrent(x)[0].square().mean(), recurrent.parameters()).gradient_curvature())
    plain = nn.Linear(8, 4)
    compiled = torch.compile(plain, backend="aot_eager")
    compiled(x)  # compiled before: its backward cannot be differentiated again
    a = Hessian(lambda: compiled(x).square().mean(), compiled.parameters())
    b = Hessian(lambda: plain(x).square().mean(), plain.parameters())
    assert a.gradient_curvature() == pytest.approx(b.gradient_curvature())


def test_what_cannot_be_done_is_named() -> None:
    bag = nn.EmbeddingBag(4, 2)
    with pytest.raises(UsageError, match="cannot differentiate embedding_bag_backward twice"):
        Hessian(lambda: bag(torch.tensor([[0, 1]])).square().sum(), bag.parameters()).product(torch.ones(8))
    w = torch.ones(3, requires_grad=True)
    with pytest.raises(UsageError, match="at least one parameter"):
        Hessian(w.sum, [torch.ones(1)])
    with pytest.raises(UsageError, match=r"torch\.bfloat16"):
        Hessian(w.sum, [w, torch.ones(1, dtype=torch.bfloat16, requires_grad=True)])
    with pytest.raises(UsageError, match=r"shape \(3,\).*mean"):
        Hessian(lambda: w, [w])
    with pytest.raises(UsageError, match="loss is nan"):
        Hessian(lambda: (w - 2).sqrt().sum(), [w])
    with pytest.raises(UsageError, match="3 columns"):
        Hessian(w.sum, [w]).product(torch.ones(2))
    with pytest.raises(UsageError, match="tolerance"):
        extreme_eigenvalue(Hessian(w.sum, [w]), tolerance=0)
    with pytest.raises(UsageError, match="one probe"):
        trace(Hessian(w.sum, [w]), 0)


def test_objectives_name_what_is_wrong_with_batches() -> None:
    model = nn.Linear(2, 1)
    with pytest.raises(UsageError, match="no batches"):
        objective(model, F.mse_loss, [])
    with pytest.raises(UsageError, match="batch 1 is a dict of 1"):
        objective(model, F.mse_loss, [(torch.ones(1, 2), torch.ones(1, 1)), {"x": 1}])
    with pytest.raises(UsageError, match="batch 0 is empty"):
        objective(model, F.mse_loss, [(torch.ones(0, 2), torch.ones(0, 1))])
    with pytest.raises(UsageError, match="returned float"):
        objective(model, lambda _: 1.0).value()


def test_what_torch_would_pass_over_without_a_word_is_refused() -> None:
    class Once(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
            ctx.save_for_backward(x)
            return x**3

        @staticmethod
        @torch.autograd.function.once_differentiable  # type: ignore[untyped-decorator]
        def backward(ctx: Any, grad: torch.Tensor) -> torch.Tensor:
            (x,) = ctx.saved_tensors
            return 3 * x**2 * grad

    w = torch.tensor([1.0, 2.0], requires_grad=True)
    with pytest.raises(UsageError, match=r"cannot be differentiated twice.*once_differentiable"):
        Hessian(lambda: Once.apply(w).square().sum(), [w])  # torch would leave out the curvature of the cube
