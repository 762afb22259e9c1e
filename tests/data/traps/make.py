"""Writes the logs of this folder: real trainings that naive rules get wrong.

``python -m tests.data.traps.make``, from the root of the repository; two minutes on an idle core. Each log
holds what its trainer would have printed: step or epoch, losses to five digits (three where there are 100,000 of them).
"""

from __future__ import annotations

import csv
import gzip
from collections.abc import Callable, Iterable
from pathlib import Path

import torch
from benchmarks.clinic import tasks
from benchmarks.clinic.config import Config
from benchmarks.clinic.train import run

HERE = Path(__file__).parent
Row = dict[str, float]


def clinic(task: str, **settings: object) -> list[Row]:
    """The log of a run of the clinic with its tuned rate (times ``rate``) for Adam."""
    spec = tasks.SPECS[task]
    base = {"batch_size": spec.batch_size, "steps": spec.steps, "weight_decay": spec.weight_decay, "log_lr": False}
    factor = float(settings.pop("rate", 1.0))  # type: ignore[arg-type]
    return run(Config(task, lr=spec.lr["adam"] * factor, **(base | settings))).rows  # type: ignore[arg-type]


def continued() -> list[Row]:
    """Fine-tuning of a trained model with a small rate: it starts low and stays level."""
    return clinic("friedman", pretrain=3000, rate=0.03, steps=1500, schedule="cosine", log_every=10, val_every=75)


def divergence_of_both() -> list[Row]:
    """A rate that is raised until training and validation rise together."""
    return looped("digits_mlp", 900, rate=lambda s: 2e-3 if s < 300 else 2e-3 * 1.02 ** (s - 300), val_every=25)


def reweighted() -> list[Row]:
    """A loss whose weight grows 25-fold while the rate warms up: it rises nearly as much, then falls."""
    return looped(
        "digits_mlp",
        1200,
        rate=lambda s: 2e-3 * min(s / 120, 1.0),
        weight=lambda s: 0.04 + 0.96 * min((s - 1) / 40, 1.0),
        val_every=0,
    )


def noisy() -> list[Row]:
    """100,000 steps of 4 examples, whose noise swamps the trend; the rate falls by ten at nine tenths of the run."""
    return looped("diabetes", 100_000, batch=4, rate=lambda s: 2e-4 if s < 90_000 else 2e-5, val_every=0)


def restarts() -> list[Row]:
    """Cosine restarts."""
    return clinic("digits_cnn", schedule="restarts", steps=1500, log_lr=True, val_every=50)


def stairs() -> list[Row]:
    """A rate that falls by ten at half and at three quarters of the run."""
    return clinic("autoencoder", schedule="step", rate=2.0, log_lr=True, val_every=50, log_every=5)


def fast() -> list[Row]:
    """Converged within a tenth of the run and level since: its lowest evaluation may lie anywhere."""
    return clinic("digits_inpaint", steps=9000, batch_size=128, rate=2.0, schedule="cosine", log_every=20, val_every=90)


def density() -> list[Row]:
    """A log-density that crosses zero and ends negative."""
    return clinic("moons_flow", schedule="cosine", val_every=50)


def tiny_validation() -> list[Row]:
    """Sixteen validation examples."""
    return clinic("cancer", val_size=16, steps=700, schedule="cosine", val_every=14)


def epoch_means() -> list[Row]:
    """Training losses averaged over the epoch, beside evaluations at its end; the last row is a summary of zeros."""
    rows = clinic("digits_mlp", axis="epoch", log_every=0, log_mean=True, schedule="cosine", steps=1500)
    return [*rows, {"step": 0, "loss": 0.0, "val_loss": 0.0}]


def looped(
    task: str,
    steps: int,
    *,
    batch: int | None = None,
    rate: Callable[[int], float] | None = None,
    weight: Callable[[int], float] = lambda _step: 1.0,
    val_every: int,
    log_every: int = 1,
) -> list[Row]:
    """A plain loop with Adam, a rate and a weight of the loss per step."""
    torch.manual_seed(1)
    made = tasks.make(task, 1, batch_size=batch)
    optimizer = made.make_optimizer()
    rows: list[Row] = []
    batches = iter(())
    for step in range(1, steps + 1):
        found = next(batches, None)
        if found is None:
            batches = iter(made.train_loader)
            found = next(batches)
        if rate is not None:
            for group in optimizer.param_groups:
                group["lr"] = rate(step)
        loss = weight(step) * made.loss_fn(made.model(found[0]), found[1])
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        row: Row = {"step": step}
        if step % log_every == 0:
            row["loss"] = loss.item()
        if val_every and step % val_every == 0:
            row["val_loss"] = made.evaluate("val")
        rows += [row] if len(row) > 1 else []
    return rows


def write(name: str, rows: Iterable[Row], digits: int = 5) -> None:
    """A table with an empty field where nothing was logged; a long one compressed."""
    rows = list(rows)
    names = list(dict.fromkeys(n for row in rows for n in row))
    path = HERE / (f"{name}.csv" if len(rows) < 5000 else f"{name}.csv.gz")
    with path.open("w") if path.suffix == ".csv" else gzip.open(path, "wt") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(names)
        table.writerows(
            [row[n] if n == "step" else f"{row[n]:.{digits}g}" if n in row else "" for n in names] for row in rows
        )


def main() -> None:
    torch.set_num_threads(1)
    made = (continued, divergence_of_both, reweighted, restarts, stairs, fast, density, tiny_validation, epoch_means)
    for make in made:
        write(make.__name__, make())
    write("noisy", noisy(), digits=3)


if __name__ == "__main__":
    main()
