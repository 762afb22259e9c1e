"""A training of several processes: what one of them changes, all have to change alike."""

from __future__ import annotations

from typing import Any

from lossdoctor.live.actions.following import Once
from lossdoctor.live.recording.ranks import this_rank


def may_act(action: str, shared: bool, once: Once) -> bool:
    """Whether an action may change the training: it is one process, or the action is on every one of them.

    Where it is not, that is said once. Copies of a model that are changed in one process only drift apart unseen.
    """
    processes = this_rank()[1]
    if processes == 1 or shared:
        return True
    once.warn(
        f"{action} does nothing in this training of {processes} processes: what it changes must be changed in all of "
        f"them. Make the monitor on every rank, with Monitor(every_rank=True, actions=[{action}(shared=True)])"
    )
    return False


def is_sharded(model: Any) -> bool:
    """Whether this process holds parts of parameters only (FSDP, tensor parallel)."""
    if this_rank()[1] == 1:
        return False
    flattened = any(type(m).__name__ == "FullyShardedDataParallel" for m in model.modules())
    return flattened or any(hasattr(p, "placements") for p in model.parameters())


def agreed(*flags: float) -> tuple[float, ...]:
    """The largest of each number over all processes; a collective, so that every one of them has to call it."""
    if this_rank()[1] == 1:
        return flags
    import torch
    import torch.distributed as dist

    if not (dist.is_available() and dist.is_initialized()):
        return flags
    device = "cuda" if dist.get_backend() == "nccl" else "cpu"
    shared = torch.tensor(flags, dtype=torch.float64, device=device)
    dist.all_reduce(shared, op=dist.ReduceOp.MAX)
    return tuple(shared.tolist())
