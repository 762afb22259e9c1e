"""Optimizers by name, over many starts at once.

An elementwise optimizer over one tensor of shape (n, dim) *is* n descents. One that couples the coordinates of a tensor
(LARS, LAMB, Muon) gets one parameter of shape (1, dim) per start; one that couples all its parameters (L-BFGS, Prodigy)
is made once per start. What steps is always the optimizer that a person would train with.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from types import MappingProxyType
from typing import Any, Literal

import torch
from torch import Tensor
from torch.optim import Optimizer

from lossdoctor.core.errors import LossdoctorError, UsageError, nearest

Scope = Literal["element", "tensor", "optimizer"]


@dataclass(frozen=True)
class OptimizerSpec:
    """An optimizer of the lab.

    Attributes:
        name, title: as it is called here and in print.
        package: ``"torch.optim"`` or ``"pytorch_optimizer"``; class_name: the class in it.
        scope: what it couples: nothing (``"element"``), the coordinates of a tensor, or all of its parameters.
        lr: the rate when none is given: the package's own default, but where that has none.
        fixed: settings that make it what its name says, over the package's defaults; a caller may change them.
        closure: it evaluates the loss by itself, several times a step.
        source: where it comes from; note: what to know when reading its paths.
    """

    name: str
    title: str
    class_name: str
    lr: float
    source: str
    package: str = "torch.optim"
    scope: Scope = "element"
    fixed: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    closure: bool = False
    note: str = ""

    def load(self) -> type[Optimizer]:
        """The optimizer's class. Raises LossdoctorError when its package is missing."""
        try:
            found: type[Optimizer] = getattr(import_module(self.package), self.class_name)
        except ImportError as error:
            raise LossdoctorError(
                f"the optimizer {self.name!r} comes from the package {self.package.replace('_', '-')}, which is not "
                "installed; run: pip install 'lossdoctor[lab]'"
            ) from error
        except AttributeError as error:
            raise LossdoctorError(f"this version of {self.package} has no {self.class_name}; update it") from error
        return found

    def make(self, parameters: list[Tensor], lr: float, options: Mapping[str, Any]) -> Optimizer:
        """The optimizer over these parameters; ``options`` are its own keyword arguments."""
        return self.load()(parameters, lr=lr, **{**self.fixed, **options})  # type: ignore[call-arg]

    def check(self, options: Mapping[str, Any]) -> None:
        """Raises UsageError when an option is not one of this optimizer's."""
        named = inspect.signature(self.load().__init__).parameters.values()
        known = [p.name for p in named if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
        known = [name for name in known if name not in ("self", "params", "lr", "maximize", "foreach", "fused")]
        for given in options:
            if given not in known:
                end = nearest(given, known) or f"; it has {', '.join(known)}"
                raise UsageError(f"the optimizer {self.name!r} has no option {given!r}{end}")


def _spec(*args: Any, **kwargs: Any) -> tuple[str, OptimizerSpec]:
    return args[0], OptimizerSpec(*args, **kwargs)


_KEPT = "pytorch_optimizer"
OPTIMIZERS: dict[str, OptimizerSpec] = dict(
    (
        _spec("sgd", "Gradient descent", "SGD", 1e-3, "Cauchy (1847); Robbins & Monro (1951)"),
        _spec(
            "momentum",
            "SGD with momentum",
            "SGD",
            1e-3,
            "Polyak, USSR Comp. Math. 4 (1964)",
            fixed={"momentum": 0.9},
        ),
        _spec(
            "nesterov",
            "SGD with Nesterov momentum",
            "SGD",
            1e-3,
            "Nesterov (1983); Sutskever et al., ICML 2013",
            fixed={"momentum": 0.9, "nesterov": True},
        ),
        _spec("adagrad", "Adagrad", "Adagrad", 1e-2, "Duchi et al., JMLR 12 (2011)"),
        _spec("adadelta", "Adadelta", "Adadelta", 1.0, "Zeiler, arXiv:1212.5701"),
        _spec("rmsprop", "RMSprop", "RMSprop", 1e-2, "Tieleman & Hinton (2012)"),
        _spec("adam", "Adam", "Adam", 1e-3, "Kingma & Ba, arXiv:1412.6980"),
        _spec(
            "adamw",
            "AdamW",
            "AdamW",
            1e-3,
            "Loshchilov & Hutter, arXiv:1711.05101",
            note="its weight decay of 0.01 pulls every start towards the origin",
        ),
        _spec("adamax", "Adamax", "Adamax", 2e-3, "Kingma & Ba, arXiv:1412.6980"),
        _spec("nadam", "NAdam", "NAdam", 2e-3, "Dozat, ICLR workshop 2016"),
        _spec("radam", "RAdam", "RAdam", 1e-3, "Liu et al., arXiv:1908.03265"),
        _spec("rprop", "Rprop", "Rprop", 1e-2, "Riedmiller & Braun (1993)", note="for gradients without noise"),
        _spec("asgd", "Averaged SGD", "ASGD", 1e-2, "Polyak & Juditsky (1992)"),
        _spec(
            "lbfgs",
            "L-BFGS",
            "LBFGS",
            1.0,
            "Liu & Nocedal, Math. Programming 45 (1989)",
            scope="optimizer",
            fixed={"max_iter": 1},
            closure=True,
            note="one iteration a step; line_search_fn='strong_wolfe' makes it safe far from a minimum",
        ),
        _spec(
            "muon",
            "Muon",
            "Muon",
            1e-3,
            "Jordan et al. (2024)",
            scope="tensor",
            note="made for weight matrices: of a single row it steps by its momentum's direction alone, in bfloat16; "
            "its weight decay of 0.1 pulls towards the origin",
        ),
        _spec(
            "lars",
            "LARS",
            "LARS",
            1e-3,
            "You et al., arXiv:1708.03888",
            package=_KEPT,
            scope="tensor",
            note="the step is scaled by the distance from the origin over the gradient's norm",
        ),
        _spec(
            "lamb",
            "LAMB",
            "Lamb",
            1e-3,
            "You et al., arXiv:1904.00962",
            package=_KEPT,
            scope="tensor",
            note="Adam's step, scaled to a share of the distance from the origin",
        ),
        _spec("lion", "Lion", "Lion", 1e-4, "Chen et al., arXiv:2302.06675", package=_KEPT),
        _spec("adabelief", "AdaBelief", "AdaBelief", 1e-3, "Zhuang et al., arXiv:2010.07468", package=_KEPT),
        _spec("adan", "Adan", "Adan", 1e-3, "Xie et al., arXiv:2208.06677", package=_KEPT),
        _spec("ademamix", "AdEMAMix", "AdEMAMix", 1e-3, "Pagliardini et al., arXiv:2409.03137", package=_KEPT),
        _spec("adopt", "ADOPT", "ADOPT", 1e-3, "Taniguchi et al., arXiv:2411.02853", package=_KEPT),
        _spec("yogi", "Yogi", "Yogi", 1e-2, "Zaheer et al., NeurIPS 2018", package=_KEPT),
        _spec(
            "prodigy",
            "Prodigy",
            "Prodigy",
            1.0,
            "Mishchenko & Defazio, arXiv:2306.06101",
            package=_KEPT,
            scope="optimizer",
            note="finds its own rate; lr only scales it",
        ),
    )
)
_ALIASES = {"gd": "sgd", "sgd_momentum": "momentum", "heavy_ball": "momentum", "nag": "nesterov", "l_bfgs": "lbfgs"}


def names() -> list[str]:
    """The names of all optimizers, in the order of the list."""
    return list(OPTIMIZERS)


def optimizer(name: str) -> OptimizerSpec:
    """The optimizer of this name. Raises UsageError with the nearest name on an unknown one.

    >>> optimizer("Adam").lr
    0.001
    """
    key = str(name).strip().lower().replace("-", "_").replace(" ", "_")
    found = OPTIMIZERS.get(_ALIASES.get(key, key))
    if found is None:
        end = nearest(key, [*OPTIMIZERS, *_ALIASES]) or f"; optimizers: {', '.join(OPTIMIZERS)}"
        raise UsageError(f"no optimizer is called {name!r}{end}")
    return found


class Stepper:
    """The optimizers of n starts over one tensor: gives each row its gradient, and lets them step.

    Args:
        spec: which optimizer.
        x: float64[n, dim], changed in place.
        lr: the learning rate; options: the optimizer's own keyword arguments.
        loss: float64[k, dim] -> float64[k], for an optimizer that evaluates the loss by itself.
        clip: largest norm of a start's gradient there, or None.
    """

    def __init__(
        self,
        spec: OptimizerSpec,
        x: Tensor,
        lr: float,
        options: Mapping[str, Any],
        loss: Callable[[Tensor], Tensor],
        clip: float | None = None,
    ) -> None:
        self._spec = spec
        self._loss = loss
        self._clip = clip
        # Views of x: an optimizer that steps in place moves the rows of the one tensor.
        views = [x] if spec.scope == "element" else [x[i : i + 1] for i in range(len(x))]
        self._parameters = [view.detach() for view in views]
        groups = [[p] for p in self._parameters] if spec.scope == "optimizer" else [self._parameters]
        self.optimizers = [spec.make(group, lr, options) for group in groups]

    def step(self, gradient: Tensor) -> None:
        """One step of every start; gradient: float64[n, dim], clipped already."""
        if self._spec.closure:
            for parameter, optimizer in zip(self._parameters, self.optimizers, strict=True):
                if bool(torch.isfinite(parameter).all()):  # a line search from nowhere would never end
                    optimizer.step(self._closure(parameter))
            return
        if self._spec.scope == "element":
            self._parameters[0].grad = gradient
        else:
            for i, parameter in enumerate(self._parameters):
                parameter.grad = gradient[i : i + 1]
        for optimizer in self.optimizers:
            optimizer.step()

    def _closure(self, parameter: Tensor) -> Callable[[], float]:
        def evaluate() -> float:
            with torch.enable_grad():
                at = parameter.detach().requires_grad_(True)
                loss = self._loss(at).sum()
                (gradient,) = torch.autograd.grad(loss, at)
            parameter.grad = clipped(gradient, gradient.norm(dim=1), self._clip)
            return float(loss.detach())

        return evaluate


def clipped(gradient: Tensor, norms: Tensor, limit: float | None) -> Tensor:
    """Each row scaled down to a norm of at most ``limit``, as ``torch.nn.utils.clip_grad_norm_`` does it to a model."""
    if limit is None:
        return gradient
    return gradient * (limit / (norms + 1e-6)).clamp(max=1.0)[:, None]
