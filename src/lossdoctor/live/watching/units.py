"""Dead units, from the gradients: a unit whose activation is zero for all examples leaves its row of them at zero.

Of a rectifier that gives zero for every example of a batch, no gradient comes back: the row of the weight that makes
this unit is exactly zero, and its bias too. So the gradients that are there anyway tell of dead units, after gradient
accumulation and data-parallel averaging of the whole batch, without a hook on the model, which would break the graphs
of ``torch.compile`` and would be copied and pickled with the model. What else leaves a row at zero: weights behind the
unit that are all zero (the first step of a zero-initialised branch), pruning masks, and underflow in float16; neither
does such a unit learn.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lossdoctor.live.watching.layers import Units
from lossdoctor.torchkit.norms import Pending
from lossdoctor.torchkit.packing import SMALL, local, rows_alive

_PEEK = 16  # gradients of a row that are looked at first


@torch.no_grad()
def units_alive(
    units: Sequence[Units], parameters: Sequence[Tensor]
) -> tuple[Pending[Any], list[tuple[Units, int]]] | None:
    """How many units of each layer have a gradient, on the way from their devices; with the layers and their sizes.

    None when no layer has a dense gradient.
    """
    layers: list[tuple[Units, int]] = []
    small: list[tuple[int, Tensor]] = []
    others: dict[torch.device, list[tuple[int, Tensor]]] = {}
    for unit in units:
        weight = parameters[unit.weight].grad
        if weight is None or weight.layout is not torch.strided:
            continue
        rows = local(weight).detach()
        size = rows.shape[0] if rows.dim() >= 2 and rows.numel() else 0
        if not size:
            continue
        place = len(layers)
        layers.append((unit, size))
        if rows.device.type == "cpu" and rows.numel() <= SMALL:
            small.append((place, rows))
        else:
            bias = None if unit.bias is None else parameters[unit.bias].grad
            alive = _alive(rows, None if bias is None else local(bias).detach())
            others.setdefault(rows.device, []).append((place, alive))
    if not layers:
        return None
    buffers = [([i for i, _ in found], torch.stack([alive for _, alive in found])) for found in others.values()]
    for dtype in {rows.dtype for _, rows in small}:
        same = [(i, rows) for i, rows in small if rows.dtype is dtype]
        counts = rows_alive([rows for _, rows in same])
        buffers.append(([i for i, _ in same], torch.from_numpy(np.asarray(counts))))
    return Pending(buffers, len(layers), lambda values: values), layers


def _alive(rows: Tensor, bias: Tensor | None) -> Tensor:
    """How many rows are not all zero, as a tensor on their device.

    On the CPU only the rows are read through whose bias (without one: whose middle) has no gradient.
    """
    if rows.device.type != "cpu":
        alive: Tensor = (torch.linalg.vector_norm(rows.flatten(1).float(), ord=math.inf, dim=1) != 0).sum()
        return alive
    if bias is not None and bias.shape[:1] == rows.shape[:1]:
        perhaps = bias == 0
    else:
        middle = rows.shape[1] // 2
        perhaps = (rows[:, middle : middle + (_PEEK if rows.dim() == 2 else 1)] == 0).flatten(1).all(1)
    doubtful = perhaps.nonzero().flatten()
    if len(doubtful) == 0:
        return torch.tensor(rows.shape[0])
    dead = len(doubtful) - int((rows[doubtful] != 0).flatten(1).any(1).sum())
    return torch.tensor(rows.shape[0] - dead)
