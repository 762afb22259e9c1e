"""How the first weights are drawn, and what comes through a deep net."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from lossdoctor.core.history import TrainingHistory
from lossdoctor.lab.experiments.base import LR, SEED, Option, experiment, found
from lossdoctor.lab.experiments.trained.figures import Array, Row, compared, last, lowest
from lossdoctor.lab.result import Experiment, Line, Mark, Panel, Table

if TYPE_CHECKING:
    from torch import nn

    from lossdoctor.lab.experiments.trained.data import Data

WIDTH = 64


@experiment(
    "Initialisation: zero, too small, too large, Xavier, He",
    "the spread of activations and gradients per layer of an untrained deep net, and how each start then trains",
    LR,
    Option("depth", "hidden layers", low=1, high=40),
    Option("activation", "of the hidden layers", choices=("relu", "tanh")),
    Option("steps", "optimizer steps of each run", low=50, high=20_000),
    SEED,
)
def initialisation(
    *, lr: float = 0.05, depth: int = 8, activation: str = "relu", steps: int = 300, seed: int = 0
) -> Experiment:
    from torch import nn

    from lossdoctor.lab.experiments.trained.data import digits
    from lossdoctor.lab.experiments.trained.models import mlp
    from lossdoctor.lab.experiments.trained.training import Recipe, seeded, train

    data = digits(800, 300, noise=0.2, seed=seed)
    kind = nn.ReLU if activation == "relu" else nn.Tanh
    recipe = Recipe(steps=steps, lr=lr, optimizer="momentum")

    def started(how: str) -> nn.Module:
        model = mlp([117, *[WIDTH] * depth, 10], activation=kind)
        initialise(model, how)
        return model

    histories, forward, backward = {}, {}, {}
    for how in SCHEMES:
        with seeded(seed):
            forward[how], backward[how] = spreads(started(how), data)
        histories[how] = train(partial(started, how), data, recipe, seed=seed, name=how).history
    layers = np.arange(1.0, depth + 2)

    def by_layer(title: str, spread: dict[str, Array], note: str) -> Panel:
        lines = tuple(Line(how, layers, np.where(y > 0, y, np.nan), group=how) for how, y in spread.items())
        return Panel(title, "layer", "standard deviation", lines, log_y=True, note=note)

    chance = math.log(10)
    panels = (
        by_layer("Forward: outputs by layer", forward, "Zero is not on a logarithmic axis."),
        by_layer("Backward: gradients by layer", backward, "Level is not enough: the size must allow a step."),
        compared(
            "Training loss", histories, "loss", "cross-entropy", log_y=True, marks=[Mark("guessing, ln 10", y=chance)]
        ),
    )
    numbers: dict[str, float | str] = {}
    rows: list[Row] = []
    for how, history in histories.items():
        # Over the hidden layers: the head's own shape differs.
        kept = forward[how][-2] / forward[how][0] if forward[how][0] > 0 else 0.0
        came = backward[how][0] / backward[how][-1] if backward[how][-1] > 0 else 0.0
        end, best = last(history, "loss"), lowest(history, "loss")[1]
        numbers |= {f"{how}: forward, last over first": float(kept), f"{how}: backward, first over last": float(came)}
        numbers[f"{how}: final training loss"] = end
        rows.append((how, *(float(f"{v:.3g}") for v in (kept, came, end, best)), last(history, "val_accuracy")))
    text = (
        f"A net of {depth} hidden {activation} layers, started in five ways. From zero nothing goes forward and "
        f"nothing comes back: only the last bias learns, and the loss stays near ln 10 = {chance:.2f}. Weights of "
        f"standard deviation 0.01 shrink the signal to {numbers['too small: forward, last over first']:.1g} of its "
        "spread between the first and the last hidden layer, weights of 0.5 blow it up "
        f"{numbers['too large: forward, last over first']:.3g}-fold. Xavier keeps the variance where the activation "
        "is nearly the identity (tanh at 0); relu cuts half of it away in each layer, for which He makes up with "
        f"twice the variance: {numbers['Xavier: forward, last over first']:.2g} against "
        f"{numbers['He: forward, last over first']:.2g}. Final training losses: "
        + ", ".join(f"{how} {_loss(history)}" for how, history in histories.items())
        + ". A good start keeps its spread forward, and its gradients neither vanish nor explode."
    )
    table = Table(
        "What each start does",
        (
            *("start", "forward: last over first hidden layer", "backward: first over last layer"),
            *("final training loss", "lowest training loss", "validation accuracy"),
        ),
        tuple(rows),
    )
    return found(
        text,
        panels=panels,
        tables=(table,),
        numbers=numbers,
        runs=histories,
        sources=(
            "Glorot & Bengio 2010, Understanding the difficulty of training deep feedforward neural networks",
            "He, Zhang, Ren, Sun 2015, Delving Deep into Rectifiers, arXiv:1502.01852",
        ),
    )


def _loss(history: TrainingHistory) -> str:
    end = last(history, "loss")
    return f"{end:.3g}" if math.isfinite(end) else "no number (NaN)"


SCHEMES = ("zero", "too small", "too large", "Xavier", "He")


def initialise(model: nn.Module, how: str) -> None:
    """Draw the weights of every linear layer; biases are zero."""
    from torch import nn

    for layer in model.modules():
        if not isinstance(layer, nn.Linear):
            continue
        nn.init.zeros_(layer.bias)
        if how == "Xavier":
            nn.init.xavier_normal_(layer.weight)
        elif how == "He":
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        else:
            nn.init.normal_(layer.weight, std={"zero": 0.0, "too small": 0.01, "too large": 0.5}[how])


def spreads(model: nn.Module, data: Data) -> tuple[Array, Array]:
    """Standard deviation of each linear layer's outputs, and of its weights' gradients, on the first 256 examples."""
    from torch import nn

    layers = [m for m in model.modules() if isinstance(m, nn.Linear)]
    outputs: list[float] = []
    hooks = [m.register_forward_hook(lambda _m, _in, out: outputs.append(float(out.detach().std()))) for m in layers]
    loss = nn.functional.cross_entropy(model(data.x[:256]), data.y[:256])
    loss.backward()  # type: ignore[no-untyped-call]
    for hook in hooks:
        hook.remove()
    gradients = [0.0 if m.weight.grad is None else float(m.weight.grad.std()) for m in layers]
    return np.array(outputs), np.array(gradients)
