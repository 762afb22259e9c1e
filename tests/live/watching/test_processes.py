"""Two processes that train one model, by data-parallel copies or by shards; gloo, on the CPU."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from tests.live.watching.watched_models import norm

ROOT = Path(__file__).parents[3]
SCRIPT = """
import json, os, sys, time
import torch, torch.distributed as dist
from torch import nn
from lossdoctor.live.watching.watch import Watch
from tests.live.watching.watched_models import Notes
rank, options = int(os.environ["RANK"]), json.loads(sys.argv[2])
dist.init_process_group("gloo")
torch.set_num_threads(1)
torch.manual_seed(0)
model = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 2))
with torch.no_grad():
    model[0].bias[:3] = -100.0
if options["kind"] == "ddp":
    wrapped = nn.parallel.DistributedDataParallel(model)
else:
    from torch.distributed.fsdp import fully_shard
    for layer in (model[0], model[2], model[4]):
        fully_shard(layer)
    wrapped = fully_shard(model)
if options.get("compile"):
    wrapped = torch.compile(wrapped, backend="aot_eager")
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
ranks = options.get("ranks", [0, 1])
from lossdoctor.live.watching import ranks as watch_ranks
watch_ranks.PATIENCE = 2.0
began = time.monotonic()
watch = Watch(Notes(), wrapped, optimizer, every=1, reduce=options["reduce"]) if rank in ranks else None
waited = time.monotonic() - began
local = Watch(Notes(), wrapped, optimizer, every=1) if rank == 0 else None  # asks nobody
rows, locals = [], []
for step in range(6):
    optimizer.zero_grad()
    x = torch.randn(8, 6, generator=torch.Generator().manual_seed(10 * step + rank))
    wrapped(x).square().mean().backward()
    optimizer.step()
    if rank == options.get("ends", -1) and step == 2:
        watch.close()
    if rank == 0:  # only this one logs
        if step == 5:
            time.sleep(0.3)
        rows.append(watch.collect())
        locals.append(local.collect())
dist.barrier()
if rank == 0:
    rows.append(watch.collect())
json.dump({"rows": rows, "locals": locals, "waited": waited, "closed": watch is not None and watch.closed,
           "pool": watch is not None and watch._pool is not None}, open(f"{sys.argv[1]}/{rank}.json", "w"))
dist.barrier()
dist.destroy_process_group()
"""


def run(folder: Path, **options: Any) -> list[dict[str, Any]]:
    """What the two processes noted."""
    with __import__("socket").socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    common = {**os.environ, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2"}
    common |= {"OMP_NUM_THREADS": "1", "PYTHONPATH": f"{ROOT}/src:{ROOT}"}
    children = [
        subprocess.Popen(
            [sys.executable, "-c", SCRIPT, str(folder), json.dumps(options)],
            env={**common, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stderr=subprocess.PIPE,
        )
        for rank in range(2)
    ]
    try:
        errors = [child.communicate(timeout=100)[1].decode() for child in children]
    finally:
        for child in children:
            child.kill()
    assert [c.returncode for c in children] == [0, 0], "\n".join(errors)
    return [{**json.loads((folder / f"{r}.json").read_text()), "stderr": errors[r]} for r in range(2)]


def alone(steps: int = 6) -> list[dict[str, float]]:
    """The same training in one process: the mean gradient of both processes' batches."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 2))
    with torch.no_grad():
        model[0].bias[:3] = -100.0
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    rows = []
    for step in range(steps):
        optimizer.zero_grad()
        for rank in range(2):
            x = torch.randn(8, 6, generator=torch.Generator().manual_seed(10 * step + rank))
            (model(x).square().mean() / 2).backward()
        grads = {n: p.grad.clone() for n, p in model.named_parameters()}
        dead = sum(int((grads[f"{n}.weight"] == 0).all(1).sum()) for n in (0, 2, 4))
        old = {n: p.detach().clone() for n, p in model.named_parameters()}
        optimizer.step()
        moved = [p.detach() - old[n] for n, p in model.named_parameters()]
        rows.append(
            {
                "grad_norm": norm(list(grads.values())),
                "grad_norm/2.weight": norm([grads["2.weight"]]),
                "param_norm": norm(list(old.values())),
                "update_ratio": norm(moved) / norm(list(old.values())),
                "dead_units": dead / 34,
                "nonfinite_grads": 0.0,
            }
        )
    return rows


def check(row: dict[str, float], expected: dict[str, float]) -> None:
    assert {k: row[k] for k in expected} == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("compiled", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_data_parallel(tmp_path: Path, compiled: bool) -> None:
    zero, one = run(tmp_path, kind="ddp", reduce=False, compile=compiled)
    assert not zero["closed"]
    assert not one["closed"]
    for row, expected in zip(zero["rows"], alone(), strict=False):
        check(row, expected)


def test_shards_are_added_up_where_asked_and_local_elsewhere(tmp_path: Path) -> None:
    zero, one = run(tmp_path, kind="fsdp", reduce=True)
    assert zero["pool"]
    assert one["pool"]
    told = [row for row in zero["rows"] if "grad_norm" in row]
    assert len(told) >= 1
    by_norm = {round(e["grad_norm"], 5): e for e in alone()}
    for row in told:
        check(row, by_norm[round(row["grad_norm"], 5)])
    assert round(told[-1]["grad_norm"], 5) == round(alone()[-1]["grad_norm"], 5)  # the last step's, too
    for row, expected in zip(zero["locals"], alone(), strict=True):  # unless asked, those of the own shards
        assert 0 < row["grad_norm"] < expected["grad_norm"]
        assert row["param_norm"] < expected["param_norm"]


def test_only_rank_0_asks_for_totals(tmp_path: Path) -> None:
    zero, _ = run(tmp_path, kind="fsdp", reduce=True, ranks=[0])
    assert not zero["pool"]
    assert zero["waited"] < 10
    assert "was not called on all 2" in zero["stderr"]
    assert all(row["grad_norm"] > 0 for row in zero["rows"][:6])  # its own


@pytest.mark.slow
def test_a_process_that_stops_watching_stops_nobody(tmp_path: Path) -> None:
    zero, one = run(tmp_path, kind="fsdp", reduce=True, ends=1)
    assert one["closed"]
    assert not zero["closed"]
    assert len([r for r in zero["rows"] if "grad_norm" in r]) <= 3
    assert len(zero["rows"]) == 7
