"""Advice, tried: which of the remedies that a diagnosis names help on this training, and by how much."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from sklearn.datasets import load_digits
from torch.nn import functional as F  # noqa: N812 -- its usual name

import lossdoctor
from lossdoctor.workup import Proof, prove

CONFIG = {"lr": 3.0, "weight_decay": 0.0, "batch_size": 32, "clip_norm": None, "warmup": 0.0}


@cache
def digits() -> tuple[torch.Tensor, torch.Tensor]:
    """Images as 64 numbers from 0 to 1, and which digit each shows."""
    x, y = load_digits(return_X_y=True)
    return torch.tensor(x / 16).float(), torch.tensor(y)


def train(config: dict[str, Any], steps: int, seed: int, report: Callable[[int, float], bool]) -> None:
    """Digits by a small network: so many steps from fresh weights, a validation loss every 25."""
    torch.manual_seed(seed)
    x, y = digits()
    model = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Linear(64, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=config["lr"], weight_decay=config["weight_decay"])
    for step in range(1, steps + 1):
        rising = min(1.0, step / max(1.0, config["warmup"] * steps))
        optimizer.param_groups[0]["lr"] = config["lr"] * rising
        batch = torch.randint(1400, (config["batch_size"],))
        loss = F.cross_entropy(model(x[batch]), y[batch])
        optimizer.zero_grad()
        loss.backward()
        if config["clip_norm"]:
            torch.nn.utils.clip_grad_norm_(model.parameters(), config["clip_norm"])
        optimizer.step()
        if step % 25 == 0 or step == steps:
            held_out = F.cross_entropy(model(x[1400:]), y[1400:])
            if report(step, held_out.item()):
                return


def main(budget: int = 6000) -> Proof:
    """Train once as it is, diagnose that, and try what is advised."""
    losses: list[tuple[int, float]] = []
    train(CONFIG, 300, 0, lambda step, loss: losses.append((step, loss)) or False)
    diagnosis = lossdoctor.TrainingHistory(val_loss=[loss for _, loss in losses]).diagnose()
    advised = [diagnosis, "reduce_learning_rate", "clip_gradients", "add_warmup", "increase_batch_size"]
    proof = prove(train, CONFIG, advised, budget)
    print(proof)
    print("go on with", proof.best_config)
    return proof


if __name__ == "__main__":
    main()
