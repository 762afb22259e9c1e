"""Coarse-to-fine sampling of loss landscapes against the full grid, on really trained nets.

``python -m benchmarks.lab_landscape [--points N] [--tasks NAME …]``: trains small nets of the clinic's tasks, looks at
each through a filter-normalised random plane and through the plane of its own training run, and compares with the
evaluation of every point: evaluations saved, largest error as a share of the range, CPU seconds. The last column is the
time per evaluation beside a plain forward pass over the same batches (the floor).
Bar: at least 3 times fewer evaluations with an error of at most 1 % of the range.
"""

from __future__ import annotations

import argparse
import sys
import time
from functools import partial

import numpy as np
import torch

from benchmarks.clinic import tasks
from lossdoctor.lab.landscapes import Landscape, Trajectory, random_plane, trajectory_plane

TASKS = ("digits_mlp", "digits_cnn", "diabetes", "friedman", "digits_inpaint", "moons_flow", "chars_transformer")
Batches = list[tuple[torch.Tensor, torch.Tensor]]
STEPS = 300
EXAMPLES = 256


def trained(name: str) -> tuple[tasks.Task, Trajectory]:
    """A net after some hundred steps, and its way there."""
    task = tasks.make(name, seed=0)
    optimizer = task.make_optimizer()
    path = Trajectory(task.model, most=60)
    path.record()
    done = 0
    while done < STEPS:
        for x, y in task.train_loader:
            optimizer.zero_grad()
            task.loss_fn(task.model(x), y).backward()
            optimizer.step()
            path.record()
            done += 1
            if done == STEPS:
                break
    return task, path


def main() -> int:
    """Train, look, compare, print; 1 when the bar was missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--points", type=int, default=41)
    parser.add_argument("--tasks", nargs="+", default=list(TASKS))
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{'net':<18} {'plane':<11} {'full':>6} {'ours':>6} {'fewer':>6} {'error':>8} {'control':>8}"
          f" {'full s':>7} {'ours s':>7} {'per evaluation / forward':>25}")  # fmt: skip
    missed = 0
    for name in options.tasks:
        torch.manual_seed(0)
        task, path = trained(name)
        x, y = task.splits.train
        batches = [(x[:EXAMPLES], y[:EXAMPLES])]
        if name == "moons_flow":
            batches = [(x[:EXAMPLES], torch.zeros(min(len(x), EXAMPLES)))]
        forward = floor(task, batches)
        for kind in ("random", "trajectory"):
            look = partial(looked, task, kind, path, batches, options.points)
            begun = time.process_time()
            ours = look(0.01)
            middle = time.process_time()
            full = look(0.0)
            end = time.process_time()
            broken = int((np.isfinite(ours.values) != np.isfinite(full.values)).sum())
            both = np.isfinite(ours.values) & np.isfinite(full.values)
            error = float(np.abs(ours.values - full.values)[both].max() / np.ptp(full.values[both]))
            fewer = full.values.size / ours.evaluations
            missed += fewer < 3 or error > 0.01 or broken > 0
            per = (end - middle) / full.evaluations / forward
            print(f"{name:<18} {kind:<11} {full.evaluations:6} {ours.evaluations:6} {fewer:6.1f} {error:8.2%}"
                  f" {ours.error:8.2%} {end - middle:7.1f} {middle - begun:7.1f} {per:25.2f}", flush=True)  # fmt: skip
    print("bar: 3 times fewer evaluations, error at most 1 % of the range: " + ("met" if not missed else f"missed {missed} times"))  # fmt: skip  # noqa: E501
    return int(missed > 0)


def looked(task: tasks.Task, kind: str, path: Trajectory, batches: Batches, points: int, tolerance: float) -> Landscape:
    """One plane of the net."""
    if kind == "random":
        return random_plane(task.model, task.loss_fn, batches, points=points, tolerance=tolerance)
    return trajectory_plane(task.model, task.loss_fn, path, batches, points=points, tolerance=tolerance)


@torch.no_grad()
def floor(task: tasks.Task, batches: Batches) -> float:
    """Seconds of a plain forward pass, the best of several."""
    seconds = []
    for _ in range(30):
        begun = time.process_time()
        for x, y in batches:
            float(task.loss_fn(task.model(x), y))
        seconds.append(time.process_time() - begun)
    return float(np.median(seconds))


if __name__ == "__main__":
    sys.exit(main())
