"""What is trained: the parts of the corpus, and the configurations drawn for them by index, everywhere the same.

A part is a range of indices with its own tasks and faults, each in turn. The draws of a part never change once its
runs are trained: a test holds them by hash.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.random import Generator

from benchmarks.clinic import faults, more_tasks, other_tasks, tasks
from benchmarks.clinic.config import SCHEDULES, Config
from benchmarks.clinic.faults.base import Fault

HELD_OUT = 100_000
MORE_FAULTS = 200_000
OTHER_TASKS = 300_000
MORE_TASKS = 400_000
HELD_OUT_PARTS = (HELD_OUT, OTHER_TASKS)  # for measuring only: nothing may be tuned on them
_SIZE = 100_000  # indices of a part


@dataclass(frozen=True)
class Part:
    """A range of indices.

    Attributes:
        healthy, sick: how many runs; the twins of the sick ones are among the healthy.
        tasks, faults: taken in turn.
        twins: how many of the healthy runs a sick one looks through for its twin.
        apart: the turns of a fault each look first through twins of their own, so that few runs are trained twice.
        longest: the most that a budget may exceed the task's own.
        tells_all: share of the runs that log everything.
    """

    healthy: int
    sick: int
    tasks: tuple[str, ...]
    faults: tuple[Fault, ...]
    twins: int = 60
    apart: bool = False
    longest: float = 2.2
    tells_all: float = 0.0


_QUICK = ("diabetes", "cancer", "friedman", "digits_inpaint", "digits_mlp", "autoencoder")
PARTS = {
    0: Part(270, 324, tuple(tasks.FIRST), faults.FIRST),
    HELD_OUT: Part(120, 162, tuple(tasks.FIRST), faults.FIRST),
    MORE_FAULTS: Part(
        60, 102, (*_QUICK, "digits_cnn", *_QUICK, "digits_cnn", "moons_flow"), faults.LATER,
        twins=60, apart=True, longest=1.5, tells_all=0.35,
    ),
    OTHER_TASKS: Part(
        112, 159, tuple(other_tasks.OTHER), (*faults.FIRST, *faults.LATER, *faults.ADVERSARIAL),
        twins=112, apart=True, longest=1.5, tells_all=0.35,
    ),
    MORE_TASKS: Part(
        108, 150, tuple(more_tasks.MORE), (*faults.FIRST, *faults.LATER),
        twins=108, apart=True, longest=1.5, tells_all=0.35,
    ),
}  # fmt: skip
# First index of a part -> how many healthy runs and how many sick ones.
SIZES = {first: (part.healthy, part.sick) for first, part in PARTS.items()}


def first_of(index: int) -> int:
    """The first index of the part that an index lies in.

    >>> first_of(7), first_of(100_007)
    (0, 100000)
    """
    return index // _SIZE * _SIZE


@cache
def healthy_config(index: int) -> Config:
    """The healthy configuration of an index: task in turn, all else drawn."""
    part = PARTS[first_of(index)]
    rng = np.random.default_rng([index, 7])
    name = part.tasks[(index - first_of(index)) % len(part.tasks)]
    spec = tasks.SPECS[name]
    language = spec.kind == "language"
    optimizer = str(rng.choice(["adam", "adamw", "momentum", "sgd"], p=[0.4, 0.25, 0.2, 0.15]))
    if language and optimizer == "sgd":
        optimizer = "adamw"  # plain SGD needs many more steps for text than a run here has
    if spec.kind == "adversarial":
        optimizer = "adam"  # the two do not settle against one another by plain steps
    small_batches = [0.25, 0.5, 1.0, 2.0] if not language else [1.0, 2.0]
    batch_size = int(np.clip(spec.batch_size * rng.choice(small_batches), 4, 256))
    schedule = str(rng.choice(SCHEDULES, p=[0.3, 0.1, 0.12, 0.18, 0.14, 0.08, 0.08]))
    steps = int(spec.steps * rng.uniform(1.0, 1.3 if language else part.longest))
    cut = int(steps * rng.uniform(0.75, 1.0)) if rng.random() < 0.4 else None
    rate = tasks.learning_rate(name, optimizer, batch_size) * float(rng.choice([0.5, 1.0, 1.0]))
    config = Config(
        name,
        seed=index,
        optimizer=optimizer,
        lr=rate,
        weight_decay=spec.weight_decay,
        clip_norm=1.0 if rng.random() < (0.5 if language else 0.1) else None,
        schedule=schedule,
        warmup=float(rng.choice([0.03, 0.1])),
        steps=steps,
        stop=cut,
        batch_size=batch_size,
        log_lr=bool(rng.random() < 0.65),
        log_grad_norm=bool(rng.random() < 0.4),
        log_accuracy=bool(rng.random() < 0.3),
    )
    drawn = _with_variant(_with_logger(config, rng), rng)
    if spec.kind == "adversarial":  # nothing to validate by, and nothing to tune finely
        drawn = drawn.change(val_every=-1, val_size=None, pretrain=0, variant="", log_accuracy=False)
    return fully_logged(drawn) if part.tells_all and rng.random() < part.tells_all else drawn


def fully_logged(config: Config) -> Config:
    """The same run with learning rate, gradient norm and accuracy in its log."""
    return config.change(log_lr=True, log_grad_norm=True, log_accuracy=True)


def _with_logger(config: Config, rng: Generator) -> Config:
    """How the run is written down: dense or thin, per epoch where there are enough epochs."""
    per_epoch = max(1, tasks.make(config.task, 0, batch_size=config.batch_size).steps_per_epoch)
    kinds = [(1, False), (10, False), (10, True), (50, True)]
    if config.end / per_epoch >= 15:
        kinds += [(0, False), (0, True), (0, True)]
    every, mean = kinds[int(rng.integers(len(kinds)))]
    if every == 0:
        return config.change(log_every=0, log_mean=mean, val_every=0, axis=str(rng.choice(["epoch", "step"])))
    if rng.random() < 0.08:
        return config.change(log_every=every, log_mean=mean, val_every=-1)
    evaluations = int(rng.choice([12, 25, 60]))
    if 15 <= config.end / per_epoch <= 120 and rng.random() < 0.4:
        return config.change(log_every=every, log_mean=mean, val_every=0)
    return config.change(log_every=every, log_mean=mean, val_every=max(1, config.end // evaluations))


def _with_variant(config: Config, rng: Generator) -> Config:
    """Healthy runs that look odd: a tiny validation set, or a fine-tuning that starts low and stays level."""
    draw = rng.random()
    if draw < 0.08 and config.val_every >= 0:
        return config.change(val_size=int(rng.choice([8, 16, 32])), variant="tiny_val")
    if draw < 0.14:
        schedule = "constant" if config.schedule == "restarts" else config.schedule
        return config.change(pretrain=config.steps, lr=config.lr * 0.1, schedule=schedule, variant="finetune")
    return config


def fault_of(index: int) -> Fault:
    """The fault of a sick run: those of the part in turn."""
    part = PARTS[first_of(index)]
    return part.faults[(index - first_of(index)) % len(part.faults)]


def indices_of(fault: str, first: int) -> Iterator[int]:
    """The sick runs of a part that have a fault."""
    yield from (i for i in range(first, first + PARTS[first].sick) if fault_of(i).name == fault)


def candidates(index: int) -> Iterator[tuple[Config, Config]]:
    """What the sick run of an index may be, with its twin: the first whose twin turns out healthy is taken."""
    rng = np.random.default_rng([index, 13])
    first, fault = first_of(index), fault_of(index)
    part = PARTS[first]
    order = rng.permutation(part.healthy)[: part.twins]
    if part.apart:
        turn, turns = (index - first) // len(part.faults), math.ceil(part.sick / len(part.faults))
        order = np.array(sorted(order, key=lambda k: (k // len(part.tasks) - turn) % turns))
    for k in order:
        twin = healthy_config(first + int(k))
        if fault.fits(twin):
            yield fault.configure(twin, deepcopy(rng)), twin
