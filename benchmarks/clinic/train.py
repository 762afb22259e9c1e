"""Training loops as people write them, with the loggers they use: ``train(config) -> TrainingHistory``.

Beside what a run logs, the loop keeps the *truth*: the loss on held-out data that no detector sees, the clean training
loss, and the step at which a fault set in.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.clinic import faults, remedies, tasks
from benchmarks.clinic.config import Config, learning_rate_at
from benchmarks.clinic.spec import LossFn
from lossdoctor.core.context import RunContext
from lossdoctor.core.history import TrainingHistory

Row = dict[str, float]
HELD_OUT = (1200, 200)  # examples that tell the truth: of most tasks, and of text, whose examples are many letters
_METRICS = ("loss", "val_loss", "lr", "grad_norm", "val_accuracy", "d_loss", "g_loss")


@dataclass
class Run:
    """What one training gave.

    Attributes:
        rows: what was logged, each with ``step`` and the metrics logged there.
        truth: rows of ``step`` (on the log's axis), clean ``train`` loss and held-out ``test`` loss, never logged.
        onset: the logged step at which the fault set in, or None.
        initial: loss of the untrained model on the held-out data.
    """

    config: Config
    rows: list[Row]
    truth: list[Row]
    onset: int | None
    initial: float
    steps_per_epoch: int
    classes: int | None
    extra: dict[str, Any] = field(default_factory=dict)

    @property
    def history(self) -> TrainingHistory:
        """The run as its logger shows it."""
        c = self.config
        on_epochs = c.axis == "epoch"
        context = RunContext(
            classes=self.classes,
            planned_steps=math.ceil(c.steps / self.steps_per_epoch) if on_epochs else c.steps,
            steps_per_epoch=None if on_epochs else self.steps_per_epoch,
            batch_size=c.batch_size,
            learning_rate=c.lr,
            weight_decay=c.weight_decay or None,
            clip_norm=c.clip_norm,
            optimizer=c.optimizer,
        )
        curves = {}
        for name in _METRICS:
            points = [(row["step"], row[name]) for row in self.rows if name in row]
            if points:
                curves[name] = (np.array([p[0] for p in points]), np.array([p[1] for p in points]))
        return TrainingHistory(curves, name=f"{c.task}/{c.fault}/{c.key()}", step_unit=c.axis, context=context)


def train(config: Config) -> TrainingHistory:
    """Train one configuration and return what it logged."""
    return run(config).history


def run(config: Config) -> Run:
    """Train one configuration and return what it logged and what is true of it."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)  # vanished gradients would else cost 100 times the time
    try:
        with torch.random.fork_rng():
            torch.manual_seed(config.seed)
            return loop_of(config).run()
    finally:
        torch.set_flush_denormal(False)
        torch.set_num_threads(threads)


def loop_of(config: Config) -> Loop:
    """The loop that trains a configuration."""
    if tasks.SPECS[config.task].kind == "adversarial":
        from benchmarks.clinic.adversarial import AdversarialLoop

        return AdversarialLoop(config)
    return Loop(config)


class Loop:
    """One training in progress; faults reach in through their hooks."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.fault = faults.get(config.fault)
        self.task = tasks.make(
            config.task,
            config.seed,
            batch_size=config.batch_size,
            train_share=config.train_share,
            **config.shape(),
        )
        self.rng = np.random.default_rng([config.seed, 23])
        self.memory: dict[str, Any] = {}  # what a fault keeps for later
        self.remedy = remedies.get(config)
        if not self.remedy.undoes(self.fault):
            self.fault.prepare(self)
        self.remedy.prepare(self)
        splits = self.task.splits
        parts = (splits.test,) if self.fault.spoils_validation else (splits.val, splits.test)
        held = HELD_OUT[tasks.SPECS[config.task].kind == "language"]
        self._held_out = (torch.cat([p[0] for p in parts])[:held], torch.cat([p[1] for p in parts])[:held])
        self._train_sample = (splits.train[0][: held // 2], splits.train[1][: held // 2])
        if config.val_size:
            splits.val = (splits.val[0][: config.val_size], splits.val[1][: config.val_size])
        self.steps_per_epoch = self.task.steps_per_epoch
        self.optimizer = self._make_optimizer()
        self.step = 0
        self.step_shift = 0  # a resumed run counts on from its checkpoint's step
        self.checkpoint: dict[str, Any] = {}
        self.onset: int | None = None
        self.lost = False  # the weights are NaN for good
        self.rows: list[Row] = []
        self.truth: list[Row] = []
        self._since: list[float] = []

    def _make_optimizer(self) -> torch.optim.Optimizer:
        c = self.config
        momentum = {"momentum": c.momentum} if c.optimizer == "momentum" else {}
        return tasks.make_optimizer(self.task.model, c.optimizer, c.lr, weight_decay=c.weight_decay, **momentum)

    def renew_optimizer(self) -> None:
        """Forget the optimizer's state."""
        self.optimizer = self._make_optimizer()

    @property
    def logged_step(self) -> int:
        """The present step on the log's axis."""
        step = self.step - self.step_shift
        return math.ceil(step / self.steps_per_epoch) if self.config.axis == "epoch" else step

    def mark_onset(self) -> None:
        """The fault sets in at the present step."""
        if self.onset is None:
            self.onset = self.logged_step

    def run(self) -> Run:
        initial = self.held_out_loss()
        if self.config.pretrain:
            self._pretrain()
        self.fault.ready(self)
        batches = self._batches()
        while self.step < self.config.end and not self.lost:
            self.step += 1
            self._one_step(*next(batches))
        classes = self.task.classes
        return Run(self.config, self.rows, self.truth, self.onset, initial, self.steps_per_epoch, classes)

    def held_out_loss(self, loss_fn: LossFn | None = None) -> float:
        """What is true of the model: its loss on data that no detector sees."""
        return tasks.evaluate(self.task.model, loss_fn or self.task.loss_fn, self._held_out)

    def clean_train_loss(self) -> float:
        """The loss on a fixed sample of the training data, in evaluation mode."""
        return tasks.evaluate(self.task.model, self.task.loss_fn, self._train_sample)

    def _batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        loader = self.task.train_loader  # its sampler goes on from epoch to epoch
        while True:
            yield from loader

    def _pretrain(self) -> None:
        batches = self._batches()
        optimizer = self.task.make_optimizer("adam")
        for _ in range(self.config.pretrain):
            x, y = next(batches)
            loss = self.task.loss_fn(self.task.model(x), y)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()

    def _one_step(self, x: Tensor, y: Tensor) -> None:
        lr = self.fault.learning_rate(self, learning_rate_at(self.config, self.step))
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        undone = self.remedy.undoes(self.fault)
        if not undone:
            x, y = self.fault.batch(self, x, y)
        loss = self.task.loss_fn(self.task.model(x), y)
        if not undone:
            loss = self.fault.loss(self, loss)
        if self.fault.clears_gradients:
            self.optimizer.zero_grad()
        norm = math.nan
        if loss.requires_grad:
            loss.backward()  # type: ignore[no-untyped-call]
            if not undone:
                self.fault.gradients(self)
            if self.config.log_grad_norm or self.config.clip_norm:
                limit = self.config.clip_norm or math.inf
                norm = float(torch.nn.utils.clip_grad_norm_(self.task.model.parameters(), limit))
        if self.fault.updates(self):
            self.optimizer.step()
        if self.config.remedy:
            self._measure(loss.item())
        else:
            self._log(loss.item(), norm, lr)
        self.fault.after_step(self)

    def _measure(self, loss: float) -> None:
        """Of a run with a remedy only the end matters, by the task's own loss; a lost one need not go on."""
        end = self.config.end
        if not math.isfinite(loss) and not all(p.isfinite().all() for p in self.task.model.parameters()):
            self.lost = True
        elif self.step > end - end // 8 and (self.step % max(1, end // 48) == 0 or self.step == end):
            self.truth.append({"step": self.logged_step, "test": self.held_out_loss(self.task.spec.loss_fn)})

    def _log(self, loss: float, norm: float, lr: float) -> None:
        c = self.config
        self._since.append(loss)
        row: Row = {"step": self.logged_step}
        epoch_ends = self.step % self.steps_per_epoch == 0
        if epoch_ends if c.log_every == 0 else self.step % c.log_every == 0:
            row["loss"] = float(np.mean(self._since)) if c.log_mean else loss
            self._since.clear()
            if c.log_lr:
                row["lr"] = lr
            if c.log_grad_norm:
                row["grad_norm"] = norm
        if c.val_every >= 0 and (epoch_ends if c.val_every == 0 else self.step % c.val_every == 0):
            row["val_loss"] = self.fault.evaluate(self)
            if c.log_accuracy and self.task.metrics:
                row["val_accuracy"] = self._accuracy()
        if len(row) > 1:
            self.rows.append(row)
        self._note_truth()

    def _note_truth(self) -> None:
        if self.step % max(1, self.config.end // 48) == 0 or self.step == self.config.end:
            train, test = self.clean_train_loss(), self.held_out_loss()
            self.truth.append({"step": self.logged_step, "train": train, "test": test})

    @torch.no_grad()
    def _accuracy(self) -> float:
        was_training = self.task.model.training
        self.task.model.eval()
        x, y = self.task.splits.val
        share = float(self.task.metrics["accuracy"](self.task.model(x), y))
        self.task.model.train(was_training)
        return share
