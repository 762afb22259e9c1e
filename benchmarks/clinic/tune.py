"""Where the learning rates in ``tasks.SPECS`` come from: ``python -m benchmarks.clinic.tune [TASK…]``.

For each task and optimizer a grid of half decades at constant rate and the task's own budget; printed are the mean
validation loss over the last tenth, its best, and how rough the training loss is at the end. The rate chosen is the
largest that is still smooth and within a few per cent of the best.
"""

from __future__ import annotations

import math
import sys

import numpy as np
import torch

from benchmarks.clinic import tasks

GRIDS = {"adam": (-3.5, -1.5), "sgd": (-2.5, 0.5), "momentum": (-3.0, 0.0)}


def trial(name: str, optimizer: str, lr: float) -> tuple[float, float, float]:
    """(validation over the last tenth, best validation, spread of the training loss over the last tenth)."""
    task = tasks.make(name, 0)
    torch.manual_seed(0)
    chosen = task.make_optimizer(optimizer, lr, weight_decay=task.spec.weight_decay)
    losses: list[float] = []
    vals: list[float] = []
    every = max(1, task.steps // 40)
    while len(losses) < task.steps:
        for x, y in task.train_loader:
            loss = task.loss_fn(task.model(x), y)
            chosen.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            chosen.step()
            losses.append(loss.item())
            if len(losses) % every == 0:
                vals.append(task.evaluate())
            if len(losses) >= task.steps or not math.isfinite(losses[-1]):
                break
        if not math.isfinite(losses[-1]):
            return math.nan, math.nan, math.nan
    return float(np.mean(vals[-4:])), min(vals), float(np.std(losses[-len(losses) // 10 :]))


def main(names: list[str]) -> None:
    torch.set_num_threads(1)
    for name in names or [n for n, spec in tasks.SPECS.items() if spec.kind != "adversarial"]:
        for optimizer, (low, high) in GRIDS.items():
            cells = []
            for exponent in np.arange(low, high + 0.01, 0.5):
                last, best, spread = trial(name, optimizer, 10.0**exponent)
                cells.append(f"{10.0**exponent:.2g}: {last:.4f} (best {best:.4f}, ±{spread:.3f})")
            print(f"{name:18s} {optimizer:9s}", " | ".join(cells), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
