"""Training in float16, computed in float16: what overflows, what vanishes, and what loss scaling mends."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lossdoctor.core.context import RunContext
from lossdoctor.core.history import TrainingHistory
from lossdoctor.lab.experiments.base import LR, SEED, Option, experiment, found
from lossdoctor.lab.experiments.trained.figures import compared, curve, last, tail
from lossdoctor.lab.result import Experiment, Line, Mark, Panel, Table

if TYPE_CHECKING:
    from torch import Tensor

    from lossdoctor.lab.experiments.trained.data import Data

LARGEST, LEAST = 65_504.0, 2.0**-24  # of float16: the largest number, and the smallest above zero
GROW_AFTER = 100  # steps without an overflow after which a dynamic scale doubles
GIVE_UP = 60  # logged steps after which a run that is no number ends


@dataclass(frozen=True)
class Precision:
    """How one run computes: in half precision or not, its loss scale, and how it takes the softmax."""

    half: bool = True
    scale: float = 1.0
    dynamic: bool = False
    naive: bool = False


@experiment(
    "Float16: overflow, underflow and loss scaling",
    "one net in float32 and float16: gradients that vanish or overflow, the scale that saves them, and what it cannot",
    LR,
    Option("weight", "weight of the loss, as of one term or token among many", low=0, above=True),
    Option("scale", "the fixed loss scale, and where the dynamic one starts", low=1, high=2.0**100),
    Option("steps", "optimizer steps of each run", low=50, high=20_000),
    SEED,
)
def fp16_overflow(
    *, lr: float = 0.1, weight: float = 3e-7, scale: float = 2.0**40, steps: int = 300, seed: int = 0
) -> Experiment:
    from lossdoctor.lab.experiments.trained.data import spirals

    data = spirals(400, 200, noise=0.05, turns=0.4, seed=seed)
    power = f"2^{math.log2(scale):.3g}"
    setups = {
        "float32": Precision(half=False),
        "float16": Precision(),
        f"float16, fixed scale {power}": Precision(scale=scale),
        "float16, dynamic scale": Precision(scale=scale, dynamic=True),
        "float16, dynamic scale, naive softmax": Precision(scale=scale, dynamic=True, naive=True),
    }
    histories = {name: _train(data, how, lr, weight, steps, seed, name) for name, how in setups.items()}
    full, plain, fixed, dynamic, naive = setups
    sizes, lost = _vanishing(data, weight, seed)
    first_nan = {name: _first_nonfinite(h) for name, h in histories.items()}
    skipped = {name: int(np.sum(curve(histories[name], "skipped")[1])) for name in (dynamic, naive)}
    settled = last(histories[dynamic], "loss_scale")
    numbers: dict[str, float | str] = {
        "share of gradients that vanish in float16": lost,
        "float32: final loss": tail(histories[full], "loss"),
        "float16: final loss": tail(histories[plain], "loss"),
        "fixed scale: first step that is no number": first_nan[fixed],
        "dynamic scale: final loss": tail(histories[dynamic], "loss"),
        "dynamic scale: steps skipped": skipped[dynamic],
        "dynamic scale: scale at the end": settled,
        "naive softmax: first step that is no number": first_nan[naive],
        "naive softmax: steps skipped": skipped[naive],
    }
    panels = (
        compared("Training loss", histories, "loss", "cross-entropy", note="A line that ends: no number from there."),
        compared("Loss scale", {n: histories[n] for n in (dynamic, naive)}, "loss_scale", "scale", log_y=True),
        Panel(
            "Sizes of the gradients at the start, in float32",
            "size",
            "share",
            (Line("gradients of single weights", *sizes, style="steps"),),
            log_x=True,
            marks=(Mark("float16 has nothing below", x=LEAST / 2),),
            note=f"{lost:.0%} of them are zero in float16 unless the loss is scaled up.",
        ),
    )
    text = (
        f"A net is trained on a loss of weight {weight:g} (as of one term or token among many; the rate makes up for "
        f"it). Float16 knows no number above 65,504 and none between 0 and 6e-8. Computed in float16, {lost:.0%} of "
        f"the gradients are exactly zero at the start, and the loss ends at {numbers['float16: final loss']:.3f}, "
        f"not at float32's {numbers['float32: final loss']:.3f}. Scaling the loss up before the backward pass, and "
        f"the gradients down after it, brings them back; but a fixed scale of {power} overflows, and the weights are "
        f"NaN from step {first_nan[fixed]} on. A dynamic scale starts there, too: whenever a gradient is not finite, "
        f"the step is skipped and the scale halved ({skipped[dynamic]} times here), after {GROW_AFTER} good steps it "
        f"doubles. It ends at {numbers['dynamic scale: final loss']:.3f}. What it cannot mend is an overflow on the "
        "way forward: exp(z) passes 65,504 at z = 11.1, so that a softmax written out gives NaN at step "
        f"{first_nan[naive]}, and from there every step is skipped while the scale falls and falls. Subtract the "
        "maximum first (as log_softmax does), or keep exponentials, sums and losses in float32."
    )
    table = Table(
        "Five ways to compute the same training",
        ("run", "final loss", "validation accuracy", "first step that is no number", "steps skipped"),
        tuple(
            (n, last(h, "loss"), last(h, "val_accuracy"), first_nan[n] or None, skipped.get(n, 0))
            for n, h in histories.items()
        ),
    )
    return found(
        text,
        panels=panels,
        tables=(table,),
        numbers=numbers,
        runs=histories,
        sources=("Micikevicius et al. 2018, Mixed Precision Training, arXiv:1710.03740",),
    )


def _loss(output: Tensor, target: Tensor, naive: bool) -> Tensor:
    from torch import nn

    if not naive:
        return nn.functional.nll_loss(output.log_softmax(dim=1), target)
    powers = output.exp()  # the formula as in the book; infinite from 11.1 on in float16
    return -(powers.gather(1, target[:, None])[:, 0] / powers.sum(dim=1)).log().mean()


def _train(data: Data, how: Precision, lr: float, weight: float, steps: int, seed: int, name: str) -> TrainingHistory:
    """Master weights in float32, everything between them and the loss in the run's own precision."""
    import torch

    from lossdoctor.lab.experiments.trained.models import mlp
    from lossdoctor.lab.experiments.trained.training import accuracy, batches, seeded

    kind = torch.float16 if how.half else torch.float32
    with seeded(seed):
        model = mlp([2, 32, 32, 3])
    optimizer = torch.optim.SGD(model.parameters(), lr=lr / weight, momentum=0.9)
    context = RunContext(classes=3, planned_steps=steps, batch_size=32, learning_rate=lr / weight, optimizer="momentum")
    history = TrainingHistory(name=name, context=context)
    take, scale, good, dead = batches(len(data), seed), how.scale, 0, 0

    def output_of(x: Tensor) -> Tensor:
        halves = {n: p.to(kind) for n, p in model.named_parameters()}
        out: Tensor = torch.func.functional_call(model, halves, x.to(kind))
        return out

    for step in range(1, steps + 1):
        rows = take(32)
        loss = _loss(output_of(data.x[rows]), data.y[rows], how.naive)
        optimizer.zero_grad()
        (loss.float() * (weight * scale)).backward()  # type: ignore[no-untyped-call]
        for p in model.parameters():
            p.grad = None if p.grad is None else p.grad / scale
        norm = float(torch.nn.utils.get_total_norm([p.grad for p in model.parameters() if p.grad is not None]))
        skip = how.dynamic and not math.isfinite(norm)
        value = float(loss.detach())
        history.record(value, norm, step=step, loss_scale=scale if how.dynamic else None, skipped=float(skip))
        if skip:
            scale, good = scale / 2, 0
        else:
            optimizer.step()
            good += 1
        if how.dynamic and good == GROW_AFTER:
            scale, good = scale * 2, 0
        if step % 20 == 0:
            with torch.no_grad():
                output = output_of(data.x_val)
                val_loss = float(_loss(output, data.y_val, how.naive))
            history.record(val_loss=val_loss, step=step, val_accuracy=accuracy(output, data.y_val))
        dead += not math.isfinite(value)
        if dead > GIVE_UP:
            break
    return history


def _vanishing(data: Data, weight: float, seed: int) -> tuple[tuple[np.ndarray, np.ndarray], float]:
    """Distribution of the untrained net's gradients over size, and the share of them that is zero in float16 only."""
    import torch

    from lossdoctor.lab.experiments.trained.models import mlp
    from lossdoctor.lab.experiments.trained.training import seeded

    found_in = {}
    for kind in (torch.float32, torch.float16):
        with seeded(seed):
            model = mlp([2, 32, 32, 3]).to(kind)
        loss = _loss(model(data.x[:32].to(kind)), data.y[:32], naive=False)
        (loss.float() * weight).backward()  # type: ignore[no-untyped-call]
        found_in[kind] = torch.cat([p.grad.flatten().float() for p in model.parameters() if p.grad is not None]).numpy()
    exact, half = np.abs(found_in[torch.float32]), found_in[torch.float16]
    alive = exact > 0  # a ReLU that is off has no gradient in any precision
    edges = 2.0 ** np.arange(-45, 0)
    counts, _ = np.histogram(exact[alive], edges)
    shown = np.flatnonzero(counts)
    part = slice(shown[0], shown[-1] + 1)
    return (edges[:-1][part], counts[part] / counts.sum()), float(np.mean(half[alive] == 0))


def _first_nonfinite(history: TrainingHistory) -> int:
    """Step of the first loss that is no number; 0 when there is none."""
    steps, values = curve(history, "loss")
    bad = np.flatnonzero(~np.isfinite(values))
    return int(steps[bad[0]]) if len(bad) else 0
