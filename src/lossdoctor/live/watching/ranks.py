"""Measurements of all processes that share a model, added up without a collective: so there is none to wait in.

Each process leaves its sums (a few kilobytes) in the key-value store by which ``torch.distributed`` was set up, and
rank 0 takes them from there when they are complete, some rows later. A process that leaves nothing, because it is
ended, slow or not watching any more, costs rank 0 that measurement and nobody any time.
"""

from __future__ import annotations

import json
import logging
from collections import deque
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import numpy as np
import torch.distributed as dist
from torch import Tensor

from lossdoctor.live.watching.gauge import Floats, Sums, added

log = logging.getLogger("lossdoctor")
PATIENCE = 20.0  # seconds to wait for the other processes when a watch begins
_SLOTS = 8  # measurements of one optimizer that the store holds
_watches = 0  # of this process that add up over processes; the n-th one of every process belong together


class Pool:
    """Adds up measurements over processes. Only rank 0 gets the totals.

    Args:
        store: a key-value store that all processes see.
        rank, size: this process, and how many there are.
    """

    def __init__(self, store: Any, rank: int, size: int) -> None:
        self.rank, self.size = rank, size
        self._store = store
        self._open: deque[tuple[int, int, Sums]] = deque(maxlen=_SLOTS)

    def post(self, optimizer: int, number: int, sums: Sums) -> None:
        """This process's part of the measurement with that number; empty where AMP skipped the step."""
        if self.rank == 0:
            self._open.append((optimizer, number, sums))
        else:
            self._store.set(_key(optimizer, number, self.rank), json.dumps([number, sums]))

    def totals(self) -> list[tuple[int, Sums]]:
        """(optimizer, sums over all processes) of the measurements that are complete now. Never waits."""
        found = []
        while self._open:
            optimizer, number, here = self._open[0]
            keys = [_key(optimizer, number, rank) for rank in range(1, self.size)]
            if not self._store.check(keys):
                break
            others = [json.loads(self._store.get(key)) for key in keys]
            if min(n for n, _ in others) < number:
                break  # of an earlier round: not written yet
            self._open.popleft()
            if max(n for n, _ in others) == number and here and all(sums for _, sums in others):
                found.append((optimizer, added([here, *(sums for _, sums in others)])))
        return found


def join(patience: float | None = None) -> Pool | None:
    """A pool with the other processes; None, on all of them, when not all ask for one within ``patience``
    seconds (20).

    Waits for the others, at most that long; nothing waits afterwards.
    """
    if not (dist.is_available() and dist.is_initialized()) or dist.get_world_size() == 1:
        return None
    global _watches  # noqa: PLW0603 -- the processes count their watches alike
    _watches += 1
    rank, size = dist.get_rank(), dist.get_world_size()
    try:
        store = dist.PrefixStore(  # type: ignore[attr-defined]
            f"lossdoctor/watch{_watches}", dist.distributed_c10d._get_default_store()
        )
        store.set(f"here/{rank}", "1")
        vote = "all"
        try:
            store.wait(
                [f"here/{r}" for r in range(size)], timedelta(seconds=PATIENCE if patience is None else patience)
            )
        except Exception:  # torch raises different ones, by version and store
            vote = "some"
        # The first to decide decides for all, or one that came a moment late would think otherwise.
        decided = store.compare_set("decided", "", vote)
    except Exception as error:
        log.warning("gradient norms are of this process alone: its store cannot be used (%s)", error)
        return None
    if bytes(decided) != b"all":
        log.warning("gradient norms are of this process alone: watch(reduce=True) was not called on all %d", size)
        return None
    return Pool(store, rank, size)


def shares(parameters: Sequence[Tensor], size: int, flattened: bool) -> Floats:
    """Of each parameter the part that this process adds to the total: a replica of n adds one n-th.

    Args:
        parameters: distributed ones say over which processes they are split and over which they are repeated.
        size: number of processes.
        flattened: whether plain tensors are shards too (FSDP 1), and not replicas.
    """
    found = np.empty(len(parameters))
    for i, parameter in enumerate(parameters):
        mesh, placements = getattr(parameter, "device_mesh", None), getattr(parameter, "placements", None)
        if mesh is None or placements is None:
            found[i] = 1.0 if flattened else 1.0 / size
            continue
        replicas = max(size // mesh.size(), 1)
        for dim, placement in enumerate(placements):
            if placement.is_replicate():
                replicas *= mesh.size(dim)
        found[i] = 1.0 / replicas
    return found


def _key(optimizer: int, number: int, rank: int) -> str:
    return f"{optimizer}/{number % _SLOTS}/{rank}"
