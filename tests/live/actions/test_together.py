"""A training of several processes: all act alike, or none does."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
# One process of two. In the middle the weights go wrong, and only rank 0 can see it by its loss.
PROCESS = """
import json, os, sys
import torch, torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from lossdoctor.live import Monitor
from lossdoctor.live.actions import ClipGradients, ReduceLR, Rescue
from tests.live.actions.rescued import Loader, with_nan
from tests.live.actions.watched import watch

rank, folder, shared = int(sys.argv[1]), sys.argv[2], sys.argv[3] == "shared"
torch.set_num_threads(1)
dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
torch.manual_seed(0)
model = DistributedDataParallel(nn.Sequential(nn.Linear(6, 16), nn.Tanh(), nn.Linear(16, 1)))
optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
actions = [Rescue(every=20, confirm=10, shared=shared), ClipGradients(5.0, shared=shared)]
monitor = Monitor(f"{folder}/run", actions=actions, every_rank=shared)
watch(monitor, model, optimizer)
for step, batch in zip(range(220), Loader(seed=100_000 * rank)):
    x, y = with_nan(batch) if step == 70 and rank == 1 else batch
    if step == 120 and shared:
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.mul_(50.0)
    loss = (model(x) - y).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    monitor.log(step, loss=loss.item() if rank == 0 else 1.0)
kinds = [e.kind for e in monitor.events if e.details.get("action") == "Rescue"]
monitor.finish()
weights = torch.cat([p.detach().reshape(-1) for p in model.parameters()])
print("@" + json.dumps([kinds, weights.double().sum().item(), bool(weights.isfinite().all())]))
dist.barrier()  # neither leaves while the other still needs it
dist.destroy_process_group()
"""


def run_two(folder: Path, how: str) -> tuple[list[list[object]], str]:
    """What both processes print at their end, and what they warn of."""
    started = [
        subprocess.Popen(
            [sys.executable, "-c", PROCESS, str(rank), str(folder), how],
            cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for rank in (0, 1)
    ]  # fmt: skip
    try:
        ended = [process.communicate(timeout=200) for process in started]
    finally:
        for process in started:
            process.kill()
    assert [process.returncode for process in started] == [0, 0], ended[0][1][-2000:] + ended[1][1][-2000:]
    return [json.loads(out.rpartition("@")[2]) for out, _ in ended], ended[0][1] + ended[1][1]


@pytest.mark.slow
def test_two_processes_do_the_same(tmp_path: Path) -> None:
    (first, second), _ = run_two(tmp_path, "shared")
    assert first == second
    kinds, _, finite = first
    assert finite
    assert "skipped_step" in kinds
    assert "rolled_back" in kinds
    assert "gave_up" not in kinds


@pytest.mark.slow
def test_what_is_not_on_every_process_does_nothing_and_says_so(tmp_path: Path) -> None:
    (first, second), said = run_two(tmp_path, "alone")
    assert first[0] == second[0] == []
    assert not first[2]  # the NaN went through, on both alike
    assert not second[2]
    for action in ("Rescue", "ClipGradients"):
        assert said.count(f"{action} does nothing in this training of 2 processes") == 1
    assert "Monitor(every_rank=True" in said
