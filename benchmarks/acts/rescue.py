"""Runs that meet trouble in mid-training, with and without somebody who acts; and healthy ones that are watched."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.clinic import draws, tasks
from benchmarks.clinic.config import Config
from benchmarks.clinic.train import loop_of
from lossdoctor.live import Monitor
from lossdoctor.live.actions import LiveAction, Rescue, StopTraining

TASKS = ("diabetes", "cancer", "friedman", "digits_inpaint", "digits_mlp", "moons_flow")
HELD_OUT = ("shells_residual", "friedman2_dense", "marks_batchnorm", "digits_resconv", "seasons_conv", "bent_mixture")
OPTIMIZERS = ("adam", "momentum")


@dataclass(frozen=True)
class Trouble:
    """What goes wrong: ``batch`` and ``rate`` at each of so many steps from the middle on, or with a chance."""

    name: str
    length: int = 1
    share: float = 0.0
    scale: float = 1.0
    rate: float = 1.0

    def at(self, step: int, steps: int, chance: float) -> bool:
        """Whether this step is hit."""
        begin = int(0.45 * steps)
        return chance < self.share if self.share else begin <= step < begin + self.length


TROUBLES = (
    Trouble("one NaN batch", scale=math.nan),
    Trouble("a NaN in 2 % of the batches", share=0.02, scale=math.nan),
    Trouble("one batch 1,000 times too large", scale=1000.0),
    Trouble("15 batches in a row 30 times too large", length=15, scale=30.0),
    Trouble("learning rate 100 times too high for 10 steps", length=10, rate=100.0),
)
HEALTHY = Trouble("healthy", length=0)


@dataclass(frozen=True)
class Arm:
    """Who acts, and how."""

    name: str
    actions: Callable[[], list[LiveAction]] = list
    clip: float | None = None
    lower: float = 1.0


NOTHING = Arm("nothing")
ARMS = (
    NOTHING,
    Arm("clip at 1", clip=1.0),
    Arm("rate / 10", lower=0.1),
    Arm("Rescue", actions=lambda: [Rescue()]),
)


@dataclass(frozen=True)
class Outcome:
    """The end of a run: its held-out loss (NaN where it is lost), what that fell by, and what was done to it.

    ``steps`` is the number of steps it was planned for.
    """

    loss: float
    fall: float
    skipped: int
    rollbacks: int
    stopped: bool
    steps: int

    def excess(self, twin: Outcome) -> float:
        """How much worse it ended than its healthy twin, as a share of the twin's loss (of its fall, if negative)."""
        if not math.isfinite(self.loss):
            return math.inf
        unit = twin.loss if twin.loss > 0 else twin.fall
        return (self.loss - twin.loss) / unit


def train(name: str, seed: int, optimizer_name: str, trouble: Trouble, arm: Arm, share: float = 1.0) -> Outcome:
    """Train one task under one trouble; the rate is set by hand at every step, along a cosine."""
    torch.manual_seed(seed)
    task = tasks.make(name, seed)
    steps = int(share * task.steps)
    base = task.make_optimizer(optimizer_name).param_groups[0]["lr"]
    optimizer = task.make_optimizer(optimizer_name)
    chances = torch.rand(steps, generator=torch.Generator().manual_seed(seed + 99)).tolist()
    before = task.evaluate("test")
    ends: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        monitor = Monitor(Path(folder) / "run", actions=arm.actions())
        watch = monitor.watch(task.model, optimizer, every=50) if monitor.actions else None
        for step, (x, y) in zip(range(steps), _batches(task), strict=False):
            hit = trouble.at(step, steps, chances[step])
            if hit:
                x, y = _spoiled(x, y, trouble.scale)
            loss = task.loss_fn(task.model(x), y)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            if arm.clip is not None:
                torch.nn.utils.clip_grad_norm_(task.model.parameters(), arm.clip)
            for group in optimizer.param_groups:
                rate = 0.5 * base * (1.0 + math.cos(math.pi * step / steps))
                group["lr"] = rate * arm.lower * (trouble.rate if hit else 1.0)
            optimizer.step()
            monitor.log(step, loss=loss.item())
            if monitor.should_stop:
                break
            if step >= steps - steps // 8 and step % max(1, steps // 48) == 0:
                ends.append(task.evaluate("test"))
        rescue = next((a for a in monitor.actions if isinstance(a, Rescue)), None)
        monitor.finish()
        del watch
    end = math.fsum(ends) / len(ends) if ends else math.nan
    skipped, rollbacks = (rescue.skipped, rescue.rollbacks) if rescue else (0, 0)
    return Outcome(end, before - end, skipped, rollbacks, monitor.should_stop, steps)


def _batches(task: tasks.Task) -> Iterator[tuple[Tensor, Tensor]]:
    loader = task.train_loader
    while True:
        yield from loader


def _spoiled(x: Tensor, y: Tensor, scale: float) -> tuple[Tensor, Tensor]:
    """A batch far out of scale, with the targets of other examples; or one with a NaN in it."""
    if math.isnan(scale):
        x = x.clone()
        x[0] = math.nan
        return x, y
    if scale == 1.0:
        return x, y
    return x * scale + scale * x.std(), y.flip(0)


def healthy_configs(first: int, count: int) -> Iterator[Config]:
    """Healthy runs of a part of the clinic, of all its kinds but the slow ones: schedules, optimizers, batch sizes."""
    index, found = first, 0
    while found < count and index < first + draws.PARTS[first].healthy:
        config, index = draws.healthy_config(index), index + 1
        if tasks.SPECS[config.task].kind not in ("language", "adversarial") and config.end <= 3000:
            yield config
            found += 1


def watched(config: Config) -> Outcome:
    """A run of the clinic with everything on that could do it harm."""
    loop = loop_of(config)
    rescue = Rescue()
    with tempfile.TemporaryDirectory() as folder:
        monitor = Monitor(Path(folder) / "run", actions=[rescue, StopTraining("critical")])
        watch = monitor.watch(loop.task.model, loop.optimizer, every=50)
        loop._log = lambda loss, norm, lr: monitor.log(loop.step, loss=loss)  # type: ignore[method-assign]  # noqa: ARG005
        loop.run()
        monitor.finish()
        del watch
    return Outcome(math.nan, math.nan, rescue.skipped, rescue.rollbacks, monitor.should_stop, config.end)
