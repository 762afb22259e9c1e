"""From a noise scale to a batch size and what goes with it: the rate, the warm-up, the accumulation, the cost."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

ADAPTIVE = (torch.optim.RMSprop, torch.optim.Adagrad, torch.optim.Adadelta, torch.optim.Rprop)
PASSES, LONGEST = 5, 1000  # a warm-up of SGD in passes over the data, and in steps at most


@dataclass(frozen=True)
class BatchAdvice:
    """What a batch size asks for.

    Attributes:
        batch_size: examples per optimizer step.
        micro_batches: batches to accumulate so that each fits in memory.
        steps_ratio: steps that training takes over the fewest possible, 1 + B_noise / B.
        examples_ratio: examples it takes over the fewest possible, 1 + B / B_noise.
        steps_factor: steps it takes over those with the present batch.
        sgd_factor: what to multiply the rate of SGD with, (1 + B_noise / B_now) / (1 + B_noise / B): in proportion to
            the batch while it is small, constant beyond the noise scale.
        adam_factor: the same for Adam and its kin: the square root of it.
        lr: the optimizer's rate times its factor; None where no optimizer was given or its kind is not known.
        warmup_steps: over which to raise the rate.
    """

    batch_size: int
    micro_batches: int
    steps_ratio: float
    examples_ratio: float
    steps_factor: float
    sgd_factor: float
    adam_factor: float
    lr: float | None
    warmup_steps: int


@dataclass(frozen=True)
class Setting:
    """How the run trains at present.

    Attributes:
        batch_size: examples per optimizer step.
        memory_batch: examples that fit in memory.
        kind: ``"sgd"``, ``"adam"`` (all that divide by the gradients' size), or ``""`` for others and none.
        optimizer: its class name, or ``""``.
        lr: its largest rate.
        beta2: decay of the second moment, where it has one.
        summed: whether the loss adds up examples, so that its rate already grows with the batch.
        pass_examples: examples of a pass over the data, where known.
    """

    batch_size: int
    memory_batch: int
    kind: str = ""
    optimizer: str = ""
    lr: float | None = None
    beta2: float | None = None
    summed: bool = False
    pass_examples: int | None = None

    @classmethod
    def of(
        cls,
        optimizer: torch.optim.Optimizer | None,
        batch_size: int,
        memory_batch: int,
        summed: bool,
        whole: int | None,
    ) -> Setting:
        """The setting with what an optimizer tells."""
        if optimizer is None:
            return cls(batch_size, memory_batch, summed=summed, pass_examples=whole)
        group = max(optimizer.param_groups, key=lambda g: float(g["lr"]))
        betas = group.get("betas")
        kind = "adam" if betas is not None or isinstance(optimizer, ADAPTIVE) else ""
        if isinstance(optimizer, torch.optim.SGD):
            kind = "sgd"
        beta2 = float(betas[1]) if betas is not None else None
        name = type(optimizer).__name__
        return cls(batch_size, memory_batch, kind, name, float(group["lr"]), beta2, summed, whole)

    def advice(self, noise_scale: float, batch_size: int) -> BatchAdvice:
        """What a batch of that many examples asks for.

        The steps and examples are those of McCandlish et al. (2018), equation 2.11, and SGD's rate their equation 2.7.
        Adam's goes by the square root (Malladi et al. 2022, "On the SDEs and Scaling Rules for Adaptive Gradient
        Algorithms"). The warm-up of Adam is 2 / (1 - beta2) steps (Ma and Yarats 2021); that of SGD, where the rate at
        least doubles, five passes (Goyal et al. 2017), at most 1,000 steps.
        """
        steps_ratio = 1 + noise_scale / batch_size
        gain = (1 + noise_scale / self.batch_size) / steps_ratio
        # A sum over the batch grows with it by itself; Adam divides that out again.
        sgd, adam = gain * (self.batch_size / batch_size if self.summed else 1), math.sqrt(gain)
        factor = {"sgd": sgd, "adam": adam}.get(self.kind)
        return BatchAdvice(
            batch_size=batch_size,
            micro_batches=math.ceil(batch_size / self.memory_batch),
            steps_ratio=steps_ratio,
            examples_ratio=1 + batch_size / noise_scale if noise_scale else math.inf,
            steps_factor=1 / gain,
            sgd_factor=sgd,
            adam_factor=adam,
            lr=None if factor is None or self.lr is None else self.lr * factor,
            warmup_steps=self._warmup(batch_size, gain),
        )

    def target(self, noise_scale: float) -> int:
        """The present batch doubled or halved to just this side of the noise scale; within a pass over the data."""
        goal = max(1.0, min(noise_scale, self.pass_examples or math.inf))
        size = self.batch_size
        while size * 2 <= goal:
            size *= 2
        while size >= 2 * goal:
            size //= 2
        return size

    def _warmup(self, batch_size: int, gain: float) -> int:
        if gain <= 1:
            return 0
        if self.kind == "adam":
            return math.ceil(2 / (1 - self.beta2)) if self.beta2 is not None and self.beta2 < 1 else LONGEST
        if gain < 2:
            return 0
        if self.pass_examples is None:
            return LONGEST
        return min(LONGEST, PASSES * math.ceil(self.pass_examples / batch_size))
