"""Adding up over processes, with a store in memory and meshes that are only described."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor

from lossdoctor.live.watching import ranks as watch_ranks
from lossdoctor.live.watching.ranks import Pool, join, shares


def pools(size: int = 3) -> list[Pool]:
    store = dist.HashStore()
    return [Pool(store, rank, size) for rank in range(size)]


def test_totals_come_when_all_parts_are_there() -> None:
    zero, one, two = pools()
    for number in (1, 2):
        zero.post(0, number, {"grad": 1.0, "bad": 0.0})
    one.post(0, 1, {"grad": 2.0, "bad": 1.0})
    assert zero.totals() == []
    two.post(0, 1, {"grad": 4.0, "bad": 0.0})
    assert zero.totals() == [(0, {"grad": 7.0, "bad": 1.0})]
    one.post(0, 2, {"grad": 20.0, "bad": float("inf")})
    two.post(0, 2, {"grad": float("nan"), "bad": 0.0})
    ((index, sums),) = zero.totals()
    assert index == 0
    assert sums["grad"] != sums["grad"]
    assert sums["bad"] == float("inf")
    assert zero.totals() == []


def test_a_lost_part_costs_only_its_measurement() -> None:
    zero, one, two = pools()
    for number in range(1, 30):
        zero.post(0, number, {"grad": 1.0})
        one.post(0, number, {"grad": 1.0})
        if number != 5:
            two.post(0, number, {"grad": 1.0})
        zero.totals()
    zero.post(0, 30, {"grad": 1.0})
    one.post(0, 30, {"grad": 1.0})
    two.post(0, 30, {"grad": 1.0})
    assert zero.totals()[-1] == (0, {"grad": 3.0})


def test_the_store_does_not_grow() -> None:
    zero, one, _ = pools()
    for number in range(100):
        one.post(0, number, {"grad": 1.0})
    assert one._store.num_keys() <= 8
    assert len(zero._open) == 0


def test_a_step_that_amp_skipped_has_no_total() -> None:
    zero, one, two = pools()
    zero.post(0, 1, {})
    one.post(0, 1, {"grad": 1.0})
    two.post(0, 1, {"grad": 1.0})
    for pool in (zero, one, two):
        pool.post(0, 2, {"grad": 1.0})
    assert zero.totals() == [(0, {"grad": 3.0})]


@dataclass
class Mesh:
    sizes: tuple[int, ...]

    def size(self, dim: int | None = None) -> int:
        whole = 1
        for s in self.sizes:
            whole *= s
        return whole if dim is None else self.sizes[dim]


@dataclass
class Placement:
    replicate: bool

    def is_replicate(self) -> bool:
        return self.replicate


class Sharded(Tensor):
    device_mesh: Any
    placements: Any


def sharded(sizes: tuple[int, ...], *replicate: bool) -> Tensor:
    tensor = torch.zeros(1).as_subclass(Sharded)
    tensor.device_mesh, tensor.placements = Mesh(sizes), tuple(map(Placement, replicate))
    return tensor


@pytest.mark.parametrize(
    ("sizes", "replicate", "share"),
    [
        ((8,), (False,), 1.0),  # FSDP
        ((2, 4), (True, False), 1 / 2),  # hybrid: 2 replicas of 4 shards
        ((2, 4), (False, False), 1.0),  # FSDP and tensor parallel
        ((4,), (False,), 1 / 2),  # shards of 4 within 2 data-parallel copies
        ((8,), (True,), 1 / 8),
    ],
)
def test_every_value_counts_once(sizes: tuple[int, ...], replicate: tuple[bool, ...], share: float) -> None:
    assert shares([sharded(sizes, *replicate)], 8, False).tolist() == [share]


def test_plain_tensors_are_replicas_or_flat_shards() -> None:
    assert shares([torch.zeros(2)], 4, flattened=False).tolist() == [0.25]
    assert shares([torch.zeros(2)], 4, flattened=True).tolist() == [1.0]


def test_one_process_has_nobody_to_join() -> None:
    before = watch_ranks._watches
    assert join() is None
    assert watch_ranks._watches == before
