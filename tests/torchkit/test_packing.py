"""Packed norms against single ones; samples; rows."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from lossdoctor.torchkit.norms import UpdateMeter, device_norms, tensor_norms
from lossdoctor.torchkit.packing import SMALL, Packing, rows_alive, sampled


def many(seed: int = 0) -> list[Tensor]:
    g = torch.Generator().manual_seed(seed)
    shapes = [(3, 4), (7,), (), (2, 2, 2), (SMALL,), (SMALL + 1,), (0,), (5, 1)]
    found = [torch.randn(s, generator=g) for s in shapes for _ in range(6)]
    found += [torch.randn(4, 6, generator=g).t(), torch.randn(9, generator=g).double()]
    found += [torch.randn(5, generator=g).to(d) for d in (torch.float16, torch.bfloat16) for _ in range(9)]
    return found


def test_packed_norms_are_those_of_each() -> None:
    tensors = many()
    found = tensor_norms({str(i): t for i, t in enumerate(tensors)}).result().values
    assert found.tolist() == pytest.approx([float(t.double().norm()) for t in tensors], rel=1e-6)


def test_many_small_tensors_are_one_vector_per_precision() -> None:
    tensors = many()
    packing = Packing(tensors)
    packed = packing.pack(tensors)
    assert len(packed) == 3 + len(packing.single)
    assert len(packing.single) == 6 + 6 + 1
    assert [p.dtype for p in packed[:3]] == [torch.float32, torch.float16, torch.bfloat16]
    places = sorted(i for where, _ in packing.norms(packed) for i in where)
    assert places == list(range(len(tensors)))


def test_values_that_are_not_finite_stay_in_their_tensor() -> None:
    tensors = [torch.ones(2) for _ in range(10)]
    tensors[3][0], tensors[4][1], tensors[5][0] = math.nan, math.inf, 1e30
    values = np.concatenate([v.numpy() for _, v in device_norms(tensors)])
    assert math.isnan(values[3])
    assert values[4] == math.inf
    assert values[5] == pytest.approx(1e30)
    assert values[6] == pytest.approx(math.sqrt(2))


@pytest.mark.parametrize("shape", [(1024, 1024), (1000, 768), (300_001,), (64, 64, 3, 3)])
def test_a_sample_is_spread_over_the_whole(shape: tuple[int, ...]) -> None:
    size = math.prod(shape)
    places = sampled(torch.arange(size).reshape(shape), 8192).flatten()
    assert len(places) == len(places.unique()) == 8192
    assert int(places.min()) == 0
    assert int(places.max()) > 0.97 * size
    columns = torch.bincount(places % shape[-1], minlength=shape[-1]) if shape[-1] < 2000 else torch.ones(1)
    assert int(columns.max()) <= 20 * max(8192 / shape[-1], 1)


def test_a_sample_of_any_layout() -> None:
    whole = torch.randn(64, 64, 7, 7)
    for tensor in (whole, whole.to(memory_format=torch.channels_last), torch.randn(300, 200).t()):
        part = sampled(tensor, 4096)
        assert part.numel() == 4096
        assert set(part.flatten().tolist()) <= set(tensor.flatten().tolist())
    gaps = torch.randn(400, 400)[:, ::2]
    assert sampled(gaps, 4096) is gaps  # not in one piece: taken whole
    assert sampled(whole, whole.numel()) is whole


def test_sampled_updates_are_close_to_the_whole_ones() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(700, 900), nn.Linear(900, 3))
    exact, close = UpdateMeter(model), UpdateMeter(model, sample=16_384)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    model(torch.randn(16, 700)).square().mean().backward()
    exact.before()
    close.before()
    optimizer.step()
    a, b = exact.after().result(), close.after().result()
    assert b.values.tolist() == pytest.approx(a.values.tolist(), rel=0.03)
    assert b.total == pytest.approx(a.total, rel=0.03)
    assert b.updates[1:].tolist() == pytest.approx(a.updates[1:].tolist(), rel=1e-6)  # small ones whole


def test_the_rows_that_are_not_all_zero() -> None:
    torch.manual_seed(0)
    weights = [torch.randn(*s) for s in ((3, 4), (1, 1), (6, 2, 3, 3), (2, 40))]
    for weight in weights:
        weight[:1] = 0.0
    weights[2][3] = 0.0
    weights[3][1] = math.nan
    assert rows_alive(weights).tolist() == [int((w.flatten(1) != 0).any(1).sum()) for w in weights] == [2, 0, 4, 1]
