"""How an optimizer turns a gradient into a step, as far as stability goes: its preconditioner and its bound."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import SGD, Adagrad, Adam, AdamW, Optimizer, RMSprop

from lossdoctor.core.errors import UsageError
from lossdoctor.probes.subject import Subject

Group = Mapping[str, Any]


def trained(subject: Subject) -> list[nn.Parameter]:
    """The parameters that are trained: those with ``requires_grad``, and of these the optimizer's where there is one.

    Raises:
        UsageError: there is none.
    """
    free = subject.parameters
    if not free:
        raise UsageError("no parameter of the model has requires_grad: all are frozen, and nothing is trained")
    if subject.optimizer is None:
        return free
    own = {id(p) for group in subject.optimizer.param_groups for p in group["params"]}
    both = [p for p in free if id(p) in own]
    if not both:
        raise UsageError(
            "the optimizer trains no parameter of this model that has requires_grad: it was made for another model, or"
            " before the model was replaced (moved by .to() on some devices, wrapped, reloaded); make it anew"
        )
    return both


@dataclass(frozen=True, eq=False)
class Step:
    """A step near a quadratic: w ← w − lr · P⁻¹ g, with momentum.

    Along a direction of P⁻¹H with eigenvalue μ it is stable while lr · μ < bound.

    Attributes:
        optimizer: class name.
        lr: the largest rate of the groups.
        momentum: heavy-ball or first-moment factor.
        bound: the stability limit of lr · μ; the lowest over the groups.
        scale: P^(-1/2), flat, one number per coordinate; rates of groups relative to ``lr`` are in it. None where it is
            one for all.
        decay: weight decay that is part of the gradient (L2), flat or one number.
        several: whether the groups have different rates.
        missing: why the step is not known; the fields after ``lr`` mean nothing then.
    """

    optimizer: str
    lr: float
    momentum: float = 0.0
    bound: float = 2.0
    scale: Tensor | None = None
    decay: Tensor | float = 0.0
    several: bool = False
    missing: str = ""


def step_of(optimizer: Optimizer, parameters: Sequence[nn.Parameter]) -> Step:
    """What the optimizer would do next with a gradient, its state held fixed.

    SGD with momentum β, dampening d and Nesterov's form as torch writes them: the bound is 2(1 + β) for the heavy ball
    (a dampening lowers the rate to lr(1 - d)) and 2(1 + β) / (1 + 2β) for Nesterov. Adam: P is the root of the second
    moment, with both bias corrections as in Cohen et al. (2022), and the bound 2(1 + β1) / (1 - β1): 38 for β1 = 0.9.
    """
    groups = {id(p): group for group in optimizer.param_groups for p in group["params"]}
    used = [groups[id(p)] for p in parameters]
    rates = [float(g["lr"]) for g in used]
    name, lr = type(optimizer).__name__, max(rates)
    kind = next((k for k in _LAWS if isinstance(optimizer, k)), None)
    if kind is None:
        return Step(
            name, lr, missing=f"the limit of {name} is not known: only that of SGD, Adam, AdamW, RMSprop, Adagrad"
        )
    if any(g.get("maximize") for g in used):
        return Step(name, lr, missing=f"{name} maximizes, and the curvature that limits it is the smallest")
    states = [optimizer.state.get(p, {}) for p in parameters]
    if kind is not SGD and not any(s and s["step"] > 0 for s in states):  # Adagrad has a state from the start
        return Step(name, lr, missing=f"{name} has taken no step, so how it scales each coordinate is not known yet")
    scales, momenta, bounds = [], [], []
    for group, state, rate in zip(used, states, rates, strict=True):
        weight, momentum, bound = _LAWS[kind](group, state)
        relative = rate / lr if lr > 0 else 1.0
        scales.append((weight * relative) ** 0.5)
        momenta.append(momentum)
        bounds.append(bound)
    decays = [0.0 if _decoupled(optimizer, g) else float(g.get("weight_decay", 0.0)) for g in used]
    return Step(
        name,
        lr,
        momentum=max(momenta),
        bound=min(bounds),
        scale=None if all(isinstance(s, float) and s == 1 for s in scales) else _flat(scales, parameters),
        decay=decays[0] if len(set(decays)) == 1 else _flat(decays, parameters),
        several=len(set(rates)) > 1,
    )


# A law gives what divides into the step (1 / P, a number or one per coordinate), the momentum and the bound.
Law = tuple[Any, float, float]


def _sgd(group: Group, _state: Group) -> Law:
    momentum = float(group.get("momentum", 0.0))
    share = 1 - float(group.get("dampening", 0.0)) if momentum else 1.0
    if group.get("nesterov"):
        return share, momentum, 2 * (1 + momentum) / (1 + 2 * momentum)
    return share, momentum, 2 * (1 + momentum)


def _adam(group: Group, state: Group) -> Law:
    beta1, beta2 = (float(b) for b in group["betas"])
    bound = 2 * (1 + beta1) / (1 - beta1)
    if not state:
        return 0.0, beta1, bound  # it never got a gradient, so no step changes it
    taken = torch.as_tensor(state["step"], dtype=torch.float64)
    squares = state["max_exp_avg_sq"] if group.get("amsgrad") else state["exp_avg_sq"]
    # Numbers of no dimension do not change a tensor's type; the powers need double precision.
    root = (squares / (1 - beta2**taken)).sqrt() + group["eps"]
    return 1 / ((1 - beta1**taken) * root), beta1, bound


def _rmsprop(group: Group, state: Group) -> Law:
    momentum = float(group.get("momentum", 0.0))
    if not state:
        return 0.0, momentum, 2 * (1 + momentum)
    squares = state["square_avg"] - state["grad_avg"] ** 2 if group.get("centered") else state["square_avg"]
    return 1 / (squares.clamp_min(0).sqrt() + group["eps"]), momentum, 2 * (1 + momentum)


def _adagrad(group: Group, state: Group) -> Law:
    slower = 1 + (state["step"] - 1).clamp_min(0) * group.get("lr_decay", 0.0)
    return 1 / (slower * (state["sum"].sqrt() + group["eps"])), 0.0, 2.0


_LAWS: dict[type[Optimizer], Callable[[Group, Group], Law]] = {
    SGD: _sgd,
    AdamW: _adam,
    Adam: _adam,
    RMSprop: _rmsprop,
    Adagrad: _adagrad,
}


def _decoupled(optimizer: Optimizer, group: Group) -> bool:
    """Whether weight decay acts on the weights beside the step, as in AdamW."""
    return isinstance(optimizer, AdamW) or bool(group.get("decoupled_weight_decay"))


def _flat(values: Sequence[Any], parameters: Sequence[nn.Parameter]) -> Tensor:
    """One number per coordinate, from a tensor or a number per parameter."""
    wide = [torch.as_tensor(v, dtype=p.dtype, device=p.device) for v, p in zip(values, parameters, strict=True)]
    return torch.cat([v.expand(p.shape).reshape(-1) for v, p in zip(wide, parameters, strict=True)])
