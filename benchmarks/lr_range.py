"""How good the suggested learning rates are: ours, torch-lr-finder's and Lightning's, against a grid search.

``python -m benchmarks.lr_range [--other] [TASK…]`` takes every task that was tuned on (with ``--other`` some that never
were) with SGD, momentum, Adam and AdamW. Each suggestion is trained with, at a constant rate, for the task's own budget
(see :mod:`benchmarks.lr_range_grid`), and so is each rate of a grid, three a decade. Printed per optimizer:

- regret: (final − best) / (initial − best) of the validation loss, best being the grid's; negative where the
  suggestion beats the grid; capped at 200 %, which is also what a training counts that diverged;
- plain: (final − best) / |best|, which has no meaning for losses near zero or below, and is given for comparison.

All three sweep from 1e-7 to 10 with the same number of steps. torch-lr-finder's suggestion is that of its ``plot()``
(steepest gradient, 10 points skipped before, 5 after), Lightning's that of ``Tuner.lr_find`` (steepest gradient over
the rate, 10 and 1 skipped), both by the packages themselves. ``--cost`` instead measures the time a step over that
of a plain loop. Bars: regret at most 5 % in the median and 20 % at worst, cost at most 1.05.
"""

from __future__ import annotations

import contextlib
import io
import logging
import math
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from benchmarks.clinic import tasks
from benchmarks.clinic.tasks import Task
from benchmarks.lr_range_grid import OPTIMIZERS, TUNED, Trained, rates
from lossdoctor.probes.learning_rate.range import lr_range_test

LOW, HIGH, STEPS, WORST = 1e-7, 10.0, 180, 2.0
OTHER = ("shells_residual", "friedman2_dense", "digits_mixer", "digits_vae")
COSTED = (("digits_mlp", "adam"), ("digits_cnn", "sgd"), ("chars_transformer", "adam"))
Suggest = Callable[[Task, torch.optim.Optimizer], float | None]


def ours(task: Task, optimizer: torch.optim.Optimizer) -> float | None:
    found = lr_range_test(task.model, task.loss_fn, task.train_loader, optimizer, steps=STEPS, progress=False)
    return found.suggestion


def finder(task: Task, optimizer: torch.optim.Optimizer) -> float | None:
    """torch-lr-finder."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt
    from torch_lr_finder import LRFinder

    search = LRFinder(task.model, optimizer, task.loss_fn, device="cpu")
    search.range_test(task.train_loader, start_lr=LOW, end_lr=HIGH, num_iter=STEPS)
    figure, axes = plt.subplots()
    try:
        _, suggestion = search.plot(ax=axes, suggest_lr=True)
    except ValueError:  # too few points
        return None
    finally:
        plt.close(figure)
    return float(suggestion)


def lightning(task: Task, optimizer: torch.optim.Optimizer) -> float | None:
    """Lightning's Tuner."""
    import lightning.pytorch as pl
    from lightning.pytorch.tuner import Tuner

    class Module(pl.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.model, self.lr = task.model, 1e-3

        def training_step(self, batch: Any, index: int) -> torch.Tensor:  # noqa: ARG002 -- the framework's
            return task.loss_fn(self.model(batch[0]), batch[1])

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return optimizer

    with tempfile.TemporaryDirectory() as folder:
        trainer = pl.Trainer(
            default_root_dir=folder, accelerator="cpu", logger=False, enable_checkpointing=False,
            enable_progress_bar=False, enable_model_summary=False, max_epochs=1000,
        )  # fmt: skip
        found = Tuner(trainer).lr_find(
            Module(), train_dataloaders=task.train_loader, min_lr=LOW, max_lr=HIGH, num_training=STEPS
        )
    suggestion = found.suggestion() if found is not None else None
    return None if suggestion is None else float(suggestion)


WAYS: dict[str, Suggest] = {"ours": ours, "torch-lr-finder": finder, "Lightning": lightning}


def suggestion(way: str, name: str, optimizer: str, seed: int = 0) -> float | None:
    """From the initial weights, with the weight decay of the training; the order of the batches is its own."""
    task = tasks.make(name, seed)
    torch.manual_seed(seed + 7)
    chosen = task.make_optimizer(optimizer, 1e-3, weight_decay=task.spec.weight_decay)
    quiet = io.StringIO()
    with contextlib.redirect_stdout(quiet), contextlib.redirect_stderr(quiet), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return WAYS[way](task, chosen)


def regrets(trained: Trained, name: str, optimizer: str, rate: float) -> tuple[float, float]:
    """(scale-free, plain) regret of a rate."""
    grid = [trained(name, optimizer, r)[1] for r in rates(optimizer)]
    initial, final = trained(name, optimizer, rate)
    best = min(grid)
    if not math.isfinite(final):
        return WORST, math.inf
    return min((final - best) / (initial - best), WORST), (final - best) / abs(best)


def quality(names: list[str]) -> int:
    trained, missed = Trained(), 0
    print(f"{'':9} {'':16} {'median':>7} {'90 %':>7} {'worst':>7} {'plain median':>13} {'within 5 %':>11} {'none':>5}")
    worst: list[str] = []
    everything: dict[str, list[float]] = {way: [] for way in WAYS}
    for optimizer in OPTIMIZERS:
        for way in WAYS:
            found = {name: suggestion(way, name, optimizer) for name in names}
            both = {n: regrets(trained, n, optimizer, r) for n, r in found.items() if r is not None}
            scale_free = [a for a, _ in both.values()]
            everything[way] += scale_free
            print(f"{optimizer:9} {way:16} {_summary(scale_free)} {np.median([b for _, b in both.values()]):13.1%}"
                  f" {sum(r <= 0.05 for r in scale_free):7}/{len(names)} {len(names) - len(both):5}", flush=True)  # fmt: skip  # noqa: E501
            if way == "ours":
                missed += statistics.median(scale_free) > 0.05 or max(scale_free) > 0.20
                bad = sorted(both, key=lambda n: both[n][0])[-2:]
                worst += [f"{optimizer} {n}: {found[n]:.2g} has {both[n][0]:.1%}" for n in bad]
                worst += [f"{optimizer} {n}: no suggestion" for n in names if n not in both]
    for way, values in everything.items():
        print(f"{'all':9} {way:16} {_summary(values)} {'':13} {sum(r <= 0.05 for r in values):7}/{len(values)}")
    print("our worst: " + "; ".join(worst))
    print("bar (median 5 %, worst 20 %): " + ("met" if not missed else f"missed with {missed} optimizers"))
    return missed


def _summary(values: list[float]) -> str:
    return f"{np.median(values):7.1%} {np.quantile(values, 0.9):7.1%} {max(values):7.1%}"


def cost(repeats: int = 15) -> int:
    """Processor time a step of a sweep over that of a plain loop of as many steps, alternating.

    Of each the lower quartile: other work on the machine only ever adds.
    """
    missed = 0
    for name, optimizer in COSTED:
        for way in ("ours", "torch-lr-finder"):
            swept, plain = [], []
            for _ in range(repeats):
                task = tasks.make(name)
                chosen = task.make_optimizer(optimizer, 1e-3)
                quiet = io.StringIO()
                with contextlib.redirect_stdout(quiet), contextlib.redirect_stderr(quiet):
                    begun = time.process_time()
                    steps = _swept(way, task, chosen)
                    swept.append((time.process_time() - begun) / steps)
                plain.append(_plain(name, optimizer, steps) / steps)
            least = float(np.quantile(plain, 0.25))
            ratio = float(np.quantile(swept, 0.25)) / least
            missed += way == "ours" and ratio > 1.05
            print(f"{name:18} {optimizer:5} {way:16} {ratio:.3f} of a plain loop of {least * 1e3:.2f} ms a step")
    return missed


def _swept(way: str, task: Task, optimizer: torch.optim.Optimizer) -> int:
    if way == "ours":
        return lr_range_test(task.model, task.loss_fn, task.train_loader, optimizer, steps=STEPS, progress=False).steps
    from torch_lr_finder import LRFinder

    search = LRFinder(task.model, optimizer, task.loss_fn, device="cpu")
    search.range_test(task.train_loader, start_lr=LOW, end_lr=HIGH, num_iter=STEPS)
    search.reset()
    return len(search.history["lr"])


def _plain(name: str, optimizer: str, steps: int) -> float:
    task = tasks.make(name)
    chosen = task.make_optimizer(optimizer, 1e-4)
    loader, done = task.train_loader, 0
    begun = time.process_time()
    while done < steps:
        for x, y in loader:
            chosen.zero_grad()
            loss = task.loss_fn(task.model(x), y)
            loss.backward()  # type: ignore[no-untyped-call]
            chosen.step()
            loss.item()
            done += 1
            if done >= steps:
                break
    return time.process_time() - begun


def main(words: list[str]) -> int:
    """Measure, print; not 0 when a bar was missed."""
    torch.set_num_threads(1)
    for logger in ("lightning.pytorch", "lightning", "lightning.fabric"):
        logging.getLogger(logger).setLevel(logging.ERROR)
    if "--cost" in words:
        return cost()
    names = [w for w in words if not w.startswith("--")]
    return quality(names or list(OTHER if "--other" in words else TUNED))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
