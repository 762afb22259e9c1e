"""Two processes: rank 0 records, and both end at one step. One that stopped alone would leave the other waiting."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integrations.support import kinds, run_in, steps_of

pytestmark = pytest.mark.slow
pytest.importorskip("torch")
ROOT = Path(__file__).parents[2]

TRANSFORMERS = """
from tests.integrations.test_transformers import *
from tests.integrations.support import Recording
callback = LossDoctorCallback(run_dir=folder / "run", actions=[Stop()])
trained = trainer(folder, callback, max_steps=40, eval_strategy="no", logging_steps=2, ddp_backend="gloo")
trained.train()
print("ended", rank, trained.state.global_step, callback.monitor is None)
"""
LIGHTNING = """
from tests.integrations.test_lightning import *
callback = LossDoctorCallback(run_dir=folder / "run", actions=[Stop()])
more = {"strategy": "ddp", "devices": 2, "log_every_n_steps": 2, "max_epochs": 5}
run = trainer(folder, callback, **more)
run.fit(Line(logs="nothing"), *loaders())
print("ended", rank, run.global_step, callback.monitor is None)
"""
ACCELERATE = """
from tests.integrations.test_accelerate import *
tracker = LossDoctorTracker(run_dir=folder / "run", actions=[Stop()])
losses = train(tracker)
print("ended", rank, len(losses), tracker.monitor is None)
"""
STOP = """
import os, pathlib, sys
from lossdoctor.live.actions import LiveAction
folder, rank = pathlib.Path(sys.argv[1]), int(os.environ["RANK"])
class Stop(LiveAction):
    def on_row(self, monitor, row):
        if row.step >= 5:
            monitor.stop("enough")
"""


@pytest.mark.parametrize(
    ("package", "script", "last"),
    [("transformers", TRANSFORMERS, 6), ("pytorch_lightning", LIGHTNING, 6), ("accelerate", ACCELERATE, 5)],
)
def test_both_end_together(package: str, script: str, last: int, tmp_path: Path) -> None:
    pytest.importorskip(package)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
    shared |= {"OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"}
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", STOP + script, str(tmp_path)],
            cwd=ROOT,
            env={**os.environ, **shared, "RANK": rank, "LOCAL_RANK": rank, "NODE_RANK": "0"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in "01"
    ]
    try:
        told = [worker.communicate(timeout=200)[0] for worker in workers]
    finally:
        for worker in workers:
            worker.kill()
    # Warnings may stand on the same line.
    ends = [found[0] if (found := re.search(r"ended \d+ \d+ (True|False)", text)) else text for text in told]
    assert ends == [f"ended 0 {last} False", f"ended 1 {last} True"]
    history = run_in(tmp_path / "run")
    assert "stopped" in kinds(history)
    assert max(steps_of(history, history.roles.primary("train_loss") or "")) == last
