"""What watching a model costs: the whole monitor in a training loop, and one measurement beside the naive loop.

``python -m benchmarks.watching [--rounds N]``. An MLP of 10 million parameters and a net of 1,000 small tensors, batch
32, one thread. Rounds of the same training alternate without and with the monitor (recording to disk, watching,
judging); the share is the median of neighbouring rounds, in wall and in CPU time, with the 95 % interval of that median
(bootstrap). A control compares rounds without with one another: what it shows is noise. ``inside`` is the CPU time of
the monitor's own calls over that of the rest of the loop. Bar: 1 %, inside, and between rounds beyond their noise.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import pairwise
from statistics import median

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 -- its usual name

import lossdoctor
from lossdoctor.live.watching.gauge import Gauge, Wanted
from lossdoctor.live.watching.layers import plan_of
from lossdoctor.live.watching.watch import Watch
from lossdoctor.torchkit.norms import gradient_norms

BATCH = 32
BAR = 0.01


def mlp() -> nn.Module:
    """10 million parameters in five layers."""
    widths = (784, 2048, 2048, 1536, 784, 10)
    layers = [m for a, b in pairwise(widths) for m in (nn.Linear(a, b), nn.ReLU())]
    return nn.Sequential(*layers[:-1])


def small_tensors() -> nn.Module:
    """1,000 tensors: 500 linear layers of 16 units, all but the first and the last around a shortcut."""
    return nn.Sequential(nn.Linear(784, 16), *(Block() for _ in range(498)), nn.Linear(16, 10))


class Block(nn.Module):
    """x + relu(Wx + b) / 16."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(16, 16)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The next x."""
        return x + F.relu(self.inner(x)) / 16


class Training:
    """A loop over random batches of one model."""

    def __init__(self, make: Callable[[], nn.Module], optimizer: str) -> None:
        torch.manual_seed(0)
        self.model = make()
        kinds = {"SGD": torch.optim.SGD, "Adam": torch.optim.Adam}
        self.optimizer = kinds[optimizer](self.model.parameters(), lr=1e-4)
        self.x, self.y = torch.randn(BATCH, 784), torch.randint(0, 10, (BATCH,))

    def step(self) -> float:
        """One step; its loss."""
        self.optimizer.zero_grad()
        loss = F.cross_entropy(self.model(self.x), self.y)
        loss.backward()
        self.optimizer.step()
        return float(loss.detach())

    def round(self, steps: int, monitor: lossdoctor.Monitor | None) -> tuple[float, float]:
        """Wall and CPU time of that many steps; the loop of both kinds reads the loss."""
        wall, cpu = time.perf_counter(), time.process_time()
        for _ in range(steps):
            loss = self.step()
            if monitor is not None:
                monitor.log(loss=loss)
        return time.perf_counter() - wall, time.process_time() - cpu


def overhead(name: str, make: Callable[[], nn.Module], optimizer: str, rounds: int, steps: int) -> bool:
    """Print the shares; whether the bar holds."""
    training = Training(make, optimizer)
    training.round(5, None)
    shares: dict[str, list[float]] = {"wall": [], "cpu": [], "control": []}
    with tempfile.TemporaryDirectory() as folder, lossdoctor.Monitor(run_dir=folder) as monitor:
        watch = monitor.watch(training.model, training.optimizer)
        training.round(4 * steps, monitor)  # it finds its pace, and the kernels are warm
        pace = watch.optimizers[0].pace
        inside = _inside(training, monitor, watch, 4 * steps)
        for _ in range(rounds):
            first = _without(training, steps)
            with_it = training.round(steps, monitor)
            second = _without(training, steps)
            for i, kind in enumerate(("wall", "cpu")):
                shares[kind].append(2 * with_it[i] / (first[i] + second[i]) - 1)
            shares["control"].append(second[0] / first[0] - 1)
            step = first[0] / steps
    found = {kind: (median(v), *_interval(v)) for kind, v in shares.items()}
    print(f"{name:<24} {optimizer:<5} step {step * 1e3:6.1f} ms, norms every {pace.interval:2} steps"
          + "".join(f"  {k} {v[0]:+6.2%} [{v[1]:+.2%}, {v[2]:+.2%}]" for k, v in found.items())
          + "  inside " + " + ".join(f"{k} {v:.2%}" for k, v in inside.items()), flush=True)  # fmt: skip
    return min(found["wall"][1], found["cpu"][1]) <= BAR and sum(inside.values()) <= BAR


def _without(training: Training, steps: int) -> tuple[float, float]:
    """A round without the hooks, which are put away for it."""
    hooks = training.optimizer._optimizer_step_pre_hooks, training.optimizer._optimizer_step_post_hooks
    kept = [dict(h) for h in hooks]
    for hook in hooks:
        hook.clear()
    try:
        return training.round(steps, None)
    finally:
        for hook, was in zip(hooks, kept, strict=True):
            hook.update(was)


def _inside(training: Training, monitor: lossdoctor.Monitor, watch: Watch, steps: int) -> dict[str, float]:
    """The shares of a loop's CPU time that pass in the monitor's own calls: what watching takes, and all the rest."""
    spent = dict.fromkeys(("hooks", "collect", "log"), 0.0)
    clock = time.thread_time

    def timed(kind: str, function: Callable[..., object]) -> Callable[..., object]:
        def call(*args: object, **kwargs: object) -> object:
            began = clock()
            try:
                return function(*args, **kwargs)
            finally:
                spent[kind] += clock() - began

        return call

    hooks = (training.optimizer._optimizer_step_pre_hooks, training.optimizer._optimizer_step_post_hooks)
    kept = [dict(h) for h in hooks]
    for hook in hooks:
        hook.update({k: timed("hooks", v) for k, v in hook.items()})
    watch.collect = timed("collect", watch.collect)  # type: ignore[method-assign]
    log = timed("log", monitor.log)
    began = clock()
    for _ in range(steps):
        log(loss=training.step())
    rest = clock() - began - spent["hooks"] - spent["log"]
    for hook, was in zip(hooks, kept, strict=True):
        hook.update(was)
    del watch.collect
    return {
        "watching": (spent["hooks"] + spent["collect"]) / rest,
        "recording and judging": (spent["log"] - spent["collect"]) / rest,
    }


def _interval(values: list[float]) -> tuple[float, float]:
    rng = np.random.default_rng(0)
    medians = np.median(rng.choice(values, (2000, len(values))), axis=1)
    return float(np.quantile(medians, 0.025)), float(np.quantile(medians, 0.975))


def naive(model: nn.Module) -> float:
    """What most scripts do: one norm and one transfer per parameter."""
    total = 0.0
    for parameter in model.parameters():
        if parameter.grad is not None:
            total += parameter.grad.detach().norm(2).item() ** 2
    return total**0.5


def calls(name: str, make: Callable[[], nn.Module]) -> None:
    """Print what one call takes, least of many (other work on the machine only ever adds)."""
    training = Training(make, "SGD")
    step = _least(training.step, 15)
    training.optimizer.zero_grad = lambda: None  # type: ignore[assignment, misc]
    parameters = list(training.model.parameters())
    plan = plan_of(parameters, [("", training.model)])
    shares = np.ones(len(parameters))

    def whole() -> None:
        gauge = Gauge(parameters, plan, Wanted(), shares)
        gauge.before()
        gauge.gradients()
        gauge.after()
        gauge.sums()

    figures = {
        "naive .item() loop": _least(lambda: naive(training.model), 31),
        "gradient_norms": _least(lambda: gradient_norms(training.model).result().total, 31),
        "a whole measurement": _least(whole, 31),
    }
    print(f"{name:<24} step {step * 1e3:.1f} ms; one call: "
          + ", ".join(f"{k} {v * 1e3:.2f} ms ({v / step:.2%} of a step)" for k, v in figures.items()), flush=True)  # fmt: skip  # noqa: E501


def _least(function: Callable[[], object], times: int) -> float:
    least = float("inf")
    for _ in range(times):
        began = time.perf_counter()
        function()
        least = min(least, time.perf_counter() - began)
    return least


def main() -> int:
    """Print the figures; 1 when the bar is missed."""
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--rounds", type=int, default=15)
    rounds = arguments.parse_args().rounds
    torch.set_num_threads(1)
    nets = {"MLP, 10 M parameters": mlp, "1,000 small tensors": small_tensors}
    for name, make in nets.items():
        calls(name, make)
    held = [overhead(name, make, kind, rounds, 50) for name, make in nets.items() for kind in ("SGD", "Adam")]
    print(
        f"bar: the whole monitor takes at most {BAR:.0%}: "
        + ("met" if all(held) else f"missed {held.count(False)} times")
    )
    return int(not all(held))


if __name__ == "__main__":
    sys.exit(main())
