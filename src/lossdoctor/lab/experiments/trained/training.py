"""The training loop of the lab: seeded, on one thread, and recorded as a TrainingHistory.

It leaves the global random generators, the number of threads and the data as they were.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from lossdoctor.core.context import RunContext
from lossdoctor.core.errors import UsageError, nearest
from lossdoctor.core.history import TrainingHistory
from lossdoctor.lab.experiments.trained.data import Data

LossFunction = Callable[[Tensor, Tensor], Tensor]
Watch = Callable[[int, nn.Module], None]
Augment = Callable[[Tensor, torch.Generator], Tensor]
OPTIMIZERS: dict[str, tuple[type[torch.optim.Optimizer], dict[str, Any]]] = {
    "sgd": (torch.optim.SGD, {}),
    "momentum": (torch.optim.SGD, {"momentum": 0.9}),
    "adam": (torch.optim.Adam, {}),
    "adamw": (torch.optim.AdamW, {}),
    "rmsprop": (torch.optim.RMSprop, {}),
}
_DEAD_ROWS = 8  # a run that turned NaN is logged this many times more, then given up


@dataclass(frozen=True)
class Recipe:
    """How to train.

    Attributes:
        steps: optimizer steps.
        lr: learning rate, times ``schedule(step)`` (step from 0) when there is one.
        optimizer: a name of ``OPTIMIZERS``.
        batch_size: examples per step, 0 for all of them; ``batch_at(step)`` overrides it.
        weight_decay: as the optimizer takes it.
        clip: limit of the global gradient norm (``clip_grad_norm_``), None for none.
        log_every, val_every: steps between two records of the training and of the validation loss.
        patience: stop when this many validations in a row were no better than the best, and restore the best.
        augment: changes a batch of inputs before it is used.
        label_smoothing: share of the label spread over all classes, in the training loss only.
        warmup: steps of warmup in ``schedule``, told to the doctor.
    """

    steps: int = 600
    lr: float = 1e-2
    optimizer: str = "adam"
    batch_size: int = 32
    weight_decay: float = 0.0
    clip: float | None = None
    schedule: Callable[[int], float] | None = None
    batch_at: Callable[[int], int] | None = None
    log_every: int = 5
    val_every: int = 20
    patience: int | None = None
    augment: Augment | None = None
    label_smoothing: float = 0.0
    warmup: int | None = None


@dataclass
class Run:
    """What one training gave.

    Attributes:
        history: what was logged, under ``loss``, ``val_loss``, ``grad_norm``, ``learning_rate``, ``accuracy``,
            ``val_accuracy``.
        model: the trained model, restored to its best validation when the recipe has ``patience``.
        best_step: step of the lowest validation loss; best_val_loss: that loss.
        val_loss, val_accuracy: of the model as it is handed over; NaN accuracy for a regression.
    """

    history: TrainingHistory
    model: nn.Module
    best_step: int
    best_val_loss: float
    val_loss: float
    val_accuracy: float


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """One thread, and torch's generator set to ``seed``; both are as before on leaving."""
    threads = torch.get_num_threads()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(threads)


def train(
    make_model: Callable[[], nn.Module],
    data: Data,
    recipe: Recipe,
    *,
    seed: int = 0,
    order_seed: int | None = None,
    name: str = "",
    loss_fn: LossFunction | None = None,
    watch: Watch | None = None,
) -> Run:
    """Train one model.

    Args:
        make_model: builds it; its random start comes from ``seed``.
        data: what to train on; targets of integers mean cross-entropy, others mean squared error.
        recipe: how.
        seed: of the start and of dropout. order_seed: of the order of the examples; default: the same.
        name: of the history.
        loss_fn: (output, target) -> scalar, instead of the usual one.
        watch: called as ``watch(step, model)`` at step 0 and at every validation whose loss is finite.

    Returns:
        the run. A divergence is a result: the run is logged a little longer and ends.

    Raises:
        UsageError: an unknown optimizer.

    >>> from lossdoctor.lab.experiments.trained.data import spirals
    >>> from lossdoctor.lab.experiments.trained.models import mlp
    >>> run = train(lambda: mlp([2, 8, 3]), spirals(100, 50), Recipe(steps=40))
    >>> run.history.val_loss[-1] < run.history.val_loss[0]
    True
    """
    if recipe.optimizer not in OPTIMIZERS:
        raise UsageError(
            f"unknown optimizer {recipe.optimizer!r}; known are {', '.join(OPTIMIZERS)}"
            f"{nearest(recipe.optimizer, OPTIMIZERS)}"
        )
    with seeded(seed):
        return _Loop(make_model(), data, recipe, seed if order_seed is None else order_seed, name, loss_fn, watch).run()


def accuracy(output: Tensor, target: Tensor) -> float:
    """Share of right answers; the classes lie on the last axis of ``output``."""
    return float((output.argmax(dim=-1) == target).float().mean())


def batches(n: int, seed: int) -> Callable[[int], Tensor]:
    """A sampler without replacement: called with a size it gives the next indices, reshuffled after each pass."""
    generator = torch.Generator().manual_seed(seed)
    left = torch.randperm(n, generator=generator)

    def take(size: int) -> Tensor:
        nonlocal left
        if size >= n:
            return torch.arange(n)
        while len(left) < size:
            left = torch.cat([left, torch.randperm(n, generator=generator)])
        taken, left = left[:size], left[size:]
        return taken

    return take


class _Loop:
    def __init__(
        self,
        model: nn.Module,
        data: Data,
        recipe: Recipe,
        order_seed: int,
        name: str,
        loss_fn: LossFunction | None,
        watch: Watch | None,
    ) -> None:
        self.model, self.data, self.recipe, self.watch = model, data, recipe, watch
        self.classifies = data.classes is not None
        self.loss_fn = loss_fn or (cross_entropy if self.classifies else nn.functional.mse_loss)
        self.take = batches(len(data), order_seed)
        self.generator = torch.Generator().manual_seed(order_seed + 1)
        kind, settings = OPTIMIZERS[recipe.optimizer]
        self.optimizer = kind(model.parameters(), lr=recipe.lr, weight_decay=recipe.weight_decay, **settings)  # type: ignore[call-arg]
        self.history = TrainingHistory(name=name, context=self._context())
        self.best: tuple[float, int, dict[str, Any]] = (math.inf, 0, {})
        self.idle = self.dead = 0

    def _context(self) -> RunContext:
        r = self.recipe
        size = min(r.batch_size or len(self.data), len(self.data))
        return RunContext(
            classes=self.data.classes,
            planned_steps=r.steps,
            steps_per_epoch=math.ceil(len(self.data) / size),
            batch_size=size,
            warmup_steps=r.warmup,
            learning_rate=r.lr,
            weight_decay=r.weight_decay or None,
            clip_norm=r.clip,
            optimizer=r.optimizer,
        )

    def run(self) -> Run:
        r = self.recipe
        losses: list[float] = []
        hits: list[float] = []
        if self.watch:
            self.watch(0, self.model)
        for step in range(1, r.steps + 1):
            loss, norm, lr, right = self._step(step - 1)
            losses.append(loss)
            hits.append(right)
            if step % r.log_every == 0:
                share = sum(hits) / len(hits) if self.classifies else None
                mean = sum(losses) / len(losses)
                self.history.record(mean, norm, step=step, learning_rate=lr, accuracy=share)
                losses, hits = [], []
                self.dead += not math.isfinite(mean)
            if (step % r.val_every == 0 or step == r.steps) and self._validate(step):
                break
            if self.dead > _DEAD_ROWS:
                break
        if r.patience is not None and self.best[2]:
            self.model.load_state_dict(self.best[2])
        value, share = self.measure()
        return Run(self.history, self.model, self.best[1], self.best[0], value, share)

    def _step(self, done: int) -> tuple[float, float, float, float]:
        r = self.recipe
        lr = r.lr * (r.schedule(done) if r.schedule else 1.0)
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        rows = self.take((r.batch_at(done) if r.batch_at else r.batch_size) or len(self.data))
        x, y = self.data.x[rows], self.data.y[rows]
        if r.augment:
            x = r.augment(x, self.generator)
        output = self.model(x)
        smoothed = r.label_smoothing > 0
        loss = cross_entropy(output, y, smoothing=r.label_smoothing) if smoothed else self.loss_fn(output, y)
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), math.inf if r.clip is None else r.clip)
        self.optimizer.step()
        return float(loss.detach()), float(norm), lr, accuracy(output, y) if self.classifies else math.nan

    def _validate(self, step: int) -> bool:
        """Record the validation; whether to stop here."""
        value, share = self.measure()
        self.history.record(val_loss=value, step=step, val_accuracy=share if self.classifies else None)
        if self.watch and math.isfinite(value):
            self.watch(step, self.model)
        if value < self.best[0]:
            keep = copy.deepcopy(self.model.state_dict()) if self.recipe.patience is not None else {}
            self.best, self.idle = (value, step, keep), 0
        else:
            self.idle += 1
        return self.recipe.patience is not None and self.idle >= self.recipe.patience

    @torch.no_grad()
    def measure(self) -> tuple[float, float]:
        self.model.eval()
        output = self.model(self.data.x_val)
        value = float(self.loss_fn(output, self.data.y_val))
        self.model.train()
        return value, accuracy(output, self.data.y_val) if self.classifies else math.nan


def cross_entropy(output: Tensor, target: Tensor, *, smoothing: float = 0.0) -> Tensor:
    """Mean cross-entropy in nats over all positions; the classes lie on the last axis of ``output``."""
    return nn.functional.cross_entropy(
        output.reshape(-1, output.shape[-1]), target.reshape(-1), label_smoothing=smoothing
    )
