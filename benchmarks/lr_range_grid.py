"""The grid search that the learning-rate range test is held against, kept from run to run.

``python -m benchmarks.lr_range_grid [TASK…]`` fills the cache. Every training has the task's own budget and weight
decay at a constant rate; its figure is the mean validation loss over the last tenth.
"""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path

import numpy as np
import torch

from benchmarks.clinic import more_tasks, other_tasks, tasks

CACHE = Path(__file__).parent / ".cache" / "lr_range"
OPTIMIZERS = ("sgd", "momentum", "adam", "adamw")
SPAN = {"sgd": (-3.0, 1.0), "momentum": (-4.0, 0.0), "adam": (-4.0, -1.0), "adamw": (-4.0, -1.0)}
TUNED = tuple({**tasks.FIRST, **more_tasks.MORE})
OTHER = tuple(n for n, spec in other_tasks.OTHER.items() if spec.kind != "adversarial")


def rates(optimizer: str) -> list[float]:
    """Three rates a decade."""
    low, high = SPAN[optimizer]
    return [float(f"{10.0**e:.3g}") for e in np.arange(low, high + 0.01, 1 / 3)]


class Trained:
    """Final validation losses by (task, optimizer, rate, seed); what is not known is trained and kept."""

    def __init__(self, path: Path = CACHE / "trained.jsonl") -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = path.read_text().splitlines() if path.exists() else []
        self.known = {tuple(key): tuple(value) for key, value in map(json.loads, lines)}

    def __call__(self, name: str, optimizer: str, lr: float, seed: int = 0) -> tuple[float, float]:
        """(initial, final) validation loss; the final one is infinite when the training diverged."""
        key = (name, optimizer, float(f"{lr:.3g}"), seed)
        if key not in self.known:
            self.known[key] = train(*key)
            with self.path.open("a") as file:
                file.write(json.dumps([key, self.known[key]]) + "\n")
        return self.known[key]


def train(name: str, optimizer: str, lr: float, seed: int) -> tuple[float, float]:
    """(initial, mean over the last tenth) of the validation loss at a constant rate."""
    task = tasks.make(name, seed)
    torch.manual_seed(seed)
    chosen = task.make_optimizer(optimizer, lr, weight_decay=task.spec.weight_decay)
    initial, loader = task.evaluate(), task.train_loader
    looks = {round(task.steps * (0.9 + 0.02 * k)) for k in range(1, 6)}
    done, seen = 0, []
    while done < task.steps:
        for x, y in loader:
            loss = task.loss_fn(task.model(x), y)
            chosen.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            chosen.step()
            done += 1
            if done in looks:
                seen.append(task.evaluate())
            if done >= task.steps or not math.isfinite(loss.item()):
                break
        if not math.isfinite(loss.item()):
            return initial, math.inf
    final = float(np.mean(seen))
    return initial, final if math.isfinite(final) else math.inf


def main(names: list[str]) -> None:
    torch.set_num_threads(1)
    trained = Trained()
    for optimizer in ("adam", "sgd", "momentum", "adamw"):
        for name in names or TUNED:
            print(
                name,
                optimizer,
                *(f"{r:.3g}:{trained(name, optimizer, r)[1]:.4g}" for r in rates(optimizer)),
                flush=True,
            )


if __name__ == "__main__":
    main(sys.argv[1:])
