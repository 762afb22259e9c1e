"""No acknowledged row is lost to ``kill -9``, at whatever moment it comes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import lossdoctor

KILLS = 50
# Imports all that is needed once, then forks a child per kill: it logs flat out and acknowledges each row through a
# pipe once log() is back. Every third one logs rows that span several pages, every fifth goes on with the run before.
CONTROLLER = """
import json, os, random, select, signal, sys, time
from pathlib import Path
import lossdoctor

lossdoctor.TrainingHistory(loss=[1.0] * 100).diagnose()  # imports what judging needs
with lossdoctor.Monitor(Path(sys.argv[1], "first"), rank=0) as monitor:
    monitor.log(loss=1.0)

def value(step):
    return step / 7

def train(folder, first, wide, pipe):
    monitor = lossdoctor.Monitor(folder, rank=0)
    extra = {f"layer{k}/grad_norm": 0.1 * k for k in range(300)} if wide else {}
    step = first
    while True:
        loss = value(step)
        monitor.log(step, loss=loss, val_loss=-loss, lr=0.1, grad_norm=float(step), epoch=step // 10, **extra)
        os.write(pipe, b"%d\\n" % step)
        step += 1

def acknowledged(folder, first, wide, wait):
    ours, theirs = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(ours)
        try:
            train(folder, first, wide, theirs)
        finally:
            os._exit(1)
    os.close(theirs)
    text, end = b"", None
    while end is None or time.monotonic() < end:
        ready, _, _ = select.select([ours], [], [], 0.0005)
        if ready:
            got = os.read(ours, 1 << 16)
            assert got, "the child ended by itself"
            text += got
            end = end or time.monotonic() + wait
    os.kill(child, signal.SIGKILL)
    while got := os.read(ours, 1 << 16):
        text += got
    os.close(ours)
    os.waitpid(child, 0)
    return [int(x) for x in text.split()]

random.seed(int(sys.argv[3]))
root, kills, known = Path(sys.argv[1]), int(sys.argv[2]), {}
for k in range(kills):
    wide = k % 3 == 2
    name = f"run{k - 1 if k % 5 == 4 and k % 3 != 2 and (k - 1) % 3 != 2 else k}"
    steps = known.setdefault(name, [])
    steps += acknowledged(root / name, steps[-1] + 1 if steps else 0, wide, random.uniform(0, 0.03))
print(json.dumps(known))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs fork and SIGKILL")
def test_fifty_kills_lose_no_acknowledged_row(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", CONTROLLER, str(tmp_path), str(KILLS), "7"],
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    acknowledged: dict[str, list[int]] = json.loads(done.stdout)
    rows = resumed = 0
    for name, steps in acknowledged.items():
        (history,) = lossdoctor.read(tmp_path / name)
        files = sum(p.name.startswith("events") for p in (tmp_path / name).iterdir())
        loss = history["loss"]
        found = dict(zip(loss.steps.tolist(), loss.values.tolist(), strict=True))
        assert {s: found.get(s) for s in steps} == {s: s / 7 for s in steps}
        assert len(found) - len(steps) <= files, "at most one row more a kill: written, not yet acknowledged"
        for other in ("val_loss", "lr", "grad_norm", "epoch"):
            assert set(steps) <= set(history[other].steps.tolist())
        if "layer299/grad_norm" in history:
            assert set(steps) <= set(history["layer299/grad_norm"].steps.tolist())
        assert all("cut off" in note for note in history.notes)
        rows += len(steps)
        if files > 1:
            resumed += 1
            assert [e["kind"] for e in history.events] == ["restarted"] * (files - 1)
    assert rows > 10 * KILLS
    assert resumed > 2
