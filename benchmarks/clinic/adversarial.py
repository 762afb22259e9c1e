"""A generator against its discriminator: a loop of its own, two losses in the log, and truth by distance.

Neither loss says whether the points are good. Truth is the sliced Wasserstein distance (Bonneel 2015) between points of
the generator, its weights averaged over the last steps as is usual, and data that it has not seen.
"""

from __future__ import annotations

import copy
import math
from typing import cast

import numpy as np
import torch
from torch import Tensor

from benchmarks.clinic import tasks
from benchmarks.clinic.config import Config, learning_rate_at
from benchmarks.clinic.other_models import Adversaries
from benchmarks.clinic.spec import LossFn
from benchmarks.clinic.train import Loop, Row

KEEP = 0.98  # of the averaged generator at each step
SLICES = 32
BETAS = (0.5, 0.99)
BLUR = 0.15  # noise on all that the discriminator sees: it calms the two (Sønderby 2017)


def sliced_distance(a: Tensor, b: Tensor) -> float:
    """Mean distance of the sorted projections of two clouds [n, 2] on directions of the half circle; 0 for the same.

    >>> square = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    >>> sliced_distance(square, square)
    0.0
    """
    count = min(len(a), len(b))
    turn = torch.arange(SLICES) * math.pi / SLICES
    directions = torch.stack([turn.cos(), turn.sin()])
    first, second = ((x[:count] @ directions).sort(dim=0).values for x in (a, b))
    return float((first - second).abs().mean())


class AdversarialLoop(Loop):
    """One step of the discriminator, one of the generator, in turn."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.model = cast(Adversaries, self.task.model)
        self.averaged = copy.deepcopy(self.model.generator)
        self.fixed = torch.randn(len(self._held_out[0]), self.model.code)
        self.of_generator = self._optimizer_of(self.model.generator)
        self._both: list[tuple[float, float]] = []

    def _make_optimizer(self) -> torch.optim.Optimizer:
        return self._optimizer_of(cast(Adversaries, self.task.model).discriminator)

    def _optimizer_of(self, part: torch.nn.Module) -> torch.optim.Optimizer:
        c = self.config
        if c.optimizer == "adam":  # a short memory of the gradient, as is usual here: the other side moves on
            return torch.optim.Adam(part.parameters(), lr=c.lr, betas=BETAS, weight_decay=c.weight_decay)
        momentum = {"momentum": c.momentum} if c.optimizer == "momentum" else {}
        return tasks.make_optimizer(part, c.optimizer, c.lr, weight_decay=c.weight_decay, **momentum)

    @torch.no_grad()
    def held_out_loss(self, loss_fn: LossFn | None = None) -> float:  # noqa: ARG002 -- no loss says how good it is
        return sliced_distance(self.averaged.eval()(self.fixed), self._held_out[0])

    @torch.no_grad()
    def clean_train_loss(self) -> float:
        return sliced_distance(self.averaged.eval()(self.fixed), self._train_sample[0])

    def _one_step(self, x: Tensor, y: Tensor) -> None:
        lr = self.fault.learning_rate(self, learning_rate_at(self.config, self.step))
        slower = dict(self.config.params).get("slower", 1.0)
        self._set_rate(self.optimizer, lr / slower)
        self._set_rate(self.of_generator, lr)
        x, y = self.fault.batch(self, x, y) if not self.remedy.undoes(self.fault) else (x, y)
        real, fake = torch.ones(len(x), 1), torch.zeros(len(x), 1)
        made = self.model.generator(torch.randn(len(x), self.model.code))
        judged = self.model.discriminator
        loss_fn = self.task.loss_fn
        x, seen = (points + BLUR * torch.randn_like(points) for points in (x, made))
        d_loss = 0.5 * (loss_fn(judged(x), real) + loss_fn(judged(seen.detach()), fake))
        norm = self._update(self.optimizer, judged, d_loss)
        g_loss = loss_fn(judged(seen), real)
        self._update(self.of_generator, self.model.generator, g_loss)
        with torch.no_grad():
            for kept, now in zip(self.averaged.parameters(), self.model.generator.parameters(), strict=True):
                kept.lerp_(now, 1.0 - KEEP)
        if self.config.remedy:
            self._measure(d_loss.item() + g_loss.item())
        else:
            self._log_both(d_loss.item(), g_loss.item(), norm, lr)
        self.fault.after_step(self)

    @staticmethod
    def _set_rate(optimizer: torch.optim.Optimizer, lr: float) -> None:
        for group in optimizer.param_groups:
            group["lr"] = lr

    def _update(self, optimizer: torch.optim.Optimizer, part: torch.nn.Module, loss: Tensor) -> float:
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        norm = torch.nn.utils.clip_grad_norm_(part.parameters(), self.config.clip_norm or math.inf)
        optimizer.step()
        return float(norm)

    def _log_both(self, d_loss: float, g_loss: float, norm: float, lr: float) -> None:
        c = self.config
        self._both.append((d_loss, g_loss))
        epoch_ends = self.step % self.steps_per_epoch == 0
        if epoch_ends if c.log_every == 0 else self.step % c.log_every == 0:
            shown = np.mean(self._both, axis=0) if c.log_mean else self._both[-1]
            self._both.clear()
            row: Row = {"step": self.logged_step, "d_loss": float(shown[0]), "g_loss": float(shown[1])}
            if c.log_lr:
                row["lr"] = lr
            if c.log_grad_norm:
                row["grad_norm"] = norm
            self.rows.append(row)
        self._note_truth()
