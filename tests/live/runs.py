"""Runs for the tests of the monitor, and their folders read back."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

import lossdoctor
from lossdoctor.core.history import TrainingHistory
from lossdoctor.live import Monitor
from lossdoctor.live.telling.announcer import Announcer


def read(folder: str | Path | None) -> TrainingHistory:
    assert folder is not None
    (history,) = lossdoctor.read(str(folder))
    return history


def descend(monitor: Monitor, steps: range) -> None:
    for step in steps:
        monitor.log(step, loss=2.0 * 0.97**step + 0.1, learning_rate=0.1)


def overfit(monitor: Monitor, steps: range) -> None:
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(10_000, 2)) * 0.01
    for step in steps:
        loss = 2.0 * 0.99**step + 0.05 + noise[step, 0]
        monitor.log(step, loss=loss)
        if step % 5 == 0:
            monitor.log(step, val_loss=loss + max(0.0, (step - 200) * 0.004) + noise[step, 1])


def entry(run: dict[str, Any]) -> dict[str, Any]:
    """A run's entry without its path: a folder with one event file is told by that file."""
    return {k: v for k, v in run.items() if k != "run"}


def report_of(folder: Path) -> Any:
    """What the command line says of the folder."""
    done = subprocess.run(
        [sys.executable, "-m", "lossdoctor", "diagnose", str(folder), "-f", "json", "--fail-on", "never"],
        check=True,
        capture_output=True,
        timeout=60,
    )
    report = json.loads(done.stdout)
    report["runs"] = [entry(run) for run in report["runs"]]
    return report


class Silent(Announcer):
    """In place of the announcer: tells nothing."""

    def _say(self, *_: Any) -> None:
        return
