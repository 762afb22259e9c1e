"""Which of several processes of one training this is: only rank 0 writes."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping

# The rank and the number of processes as launchers tell them: torchrun and its like, Slurm's srun, Open MPI, MPICH.
_LAUNCHERS = (
    ("RANK", "WORLD_SIZE"),
    ("SLURM_PROCID", "SLURM_NTASKS"),
    ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"),
    ("PMI_RANK", "PMI_SIZE"),
)


def this_rank(environment: Mapping[str, str] | None = None) -> tuple[int, int]:
    """The rank of this process and the number of processes; (0, 1) where there is one only.

    ``torch.distributed`` knows it where it is initialised (torch is not imported for the question). Otherwise what the
    launcher has put into the environment counts, if it says that there are several processes.

    >>> this_rank({"RANK": "3", "WORLD_SIZE": "8"}), this_rank({"SLURM_PROCID": "1", "SLURM_NTASKS": "1"})
    ((3, 8), (0, 1))
    """
    found = _of_torch()
    if found is not None:
        return found
    known = os.environ if environment is None else environment
    for rank, size in _LAUNCHERS:
        try:
            here, among = int(known.get(rank, "")), int(known.get(size, ""))
        except ValueError:
            continue
        if among > 1 and 0 <= here < among:
            return here, among
    return 0, 1


def _of_torch() -> tuple[int, int] | None:
    torch = sys.modules.get("torch")
    distributed = getattr(torch, "distributed", None)
    try:
        if distributed is not None and distributed.is_available() and distributed.is_initialized():
            return int(distributed.get_rank()), int(distributed.get_world_size())
    except Exception:  # a torch half imported or torn down
        return None
    return None
