"""What check_gradients returns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from lossdoctor.core.numbers import percent, short
from lossdoctor.probes.chart import Chart, Mark
from lossdoctor.probes.result import ProbeResult

HEALTHY = (1e-4, 1e-2)  # update over weight of one step; about 1e-3 is usual
_SHOWN = 24  # bars; of deeper models the first and the last layers


@dataclass(frozen=True)
class LayerGradient:
    """One weight of two dimensions or more.

    Attributes:
        name: of the parameter.
        grad_norm: Euclidean norm of its gradient, median over the batches.
        weight_norm: Euclidean norm of the weight.
        update_ratio: how far one step moves it, relative to its norm, median over the steps; None without an optimizer
            and where the weight is zero.
        units, dead: of linear and convolutional layers; 0 of others.
    """

    name: str
    grad_norm: float
    weight_norm: float
    update_ratio: float | None = None
    units: int = 0
    dead: int = 0


@dataclass(frozen=True, kw_only=True)
class GradientsResult(ProbeResult):
    """What :func:`lossdoctor.probes.check_gradients` found.

    Attributes:
        layers: weights that get a gradient, in the order of the forward pass.
        loss: mean over the batches.
        grad_norm: norm of all gradients as one vector, median over the batches.
        first_over_last: median gradient norm of the first layers (at most three) over that of the last ones; None with
            fewer than four layers, or where the last ones have none.
        dead_fraction: share of dead units among those of all linear and convolutional layers; None without any.
        worst_layer, worst_dead_fraction: the layer with the largest share of dead units.
        saturated: activation -> share of its values beyond 0.97 of its range; of hidden ones.
        update_ratio: of all parameters as one vector, median over the steps; None without an optimizer.
        frozen: parameters that do not require a gradient; ``frozen_fraction`` is their share of all values.
        detached: require a gradient, their module runs, and none arrives.
        unused: require a gradient, and their module never ran.
        zero: get a gradient that is always exactly zero.
        asleep: the same, but only until other weights move (a branch whose last weight begins at zero).
        missing: get a gradient, but the optimizer does not hold them.
        unmoved: get a gradient, the optimizer holds them, and its steps do not change them.
        nonfinite: have infinite or NaN gradients; in ``nonfinite_batches`` of the ``batches``.
        batches, examples: how many were looked at.
        input_rms: root mean square of the inputs that are real numbers; None without any.
    """

    test: ClassVar[str] = "check_gradients"
    title: ClassVar[str] = "Gradients"

    layers: tuple[LayerGradient, ...] = ()
    loss: float = float("nan")
    grad_norm: float | None = None
    first_over_last: float | None = None
    dead_fraction: float | None = None
    worst_layer: str = ""
    worst_dead_fraction: float | None = None
    saturated: tuple[tuple[str, float], ...] = ()
    update_ratio: float | None = None
    frozen: tuple[str, ...] = ()
    frozen_fraction: float = 0.0
    detached: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()
    zero: tuple[str, ...] = ()
    asleep: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    unmoved: tuple[str, ...] = ()
    nonfinite: tuple[str, ...] = ()
    nonfinite_batches: int = 0
    batches: int = 0
    examples: int = 0
    input_rms: float | None = None

    def charts(self) -> tuple[Chart, ...]:
        charts = []
        shown = _ends(self.layers)
        if any(layer.grad_norm > 0 for layer in shown):
            charts.append(
                Chart(
                    "Gradient norm per layer, from the input to the output",
                    x_label="norm of the gradient",
                    bars=tuple((layer.name, layer.grad_norm) for layer in shown),
                    log_x=True,
                )
            )
        moved = tuple((layer.name, layer.update_ratio) for layer in shown if layer.update_ratio is not None)
        if any(ratio > 0 for _, ratio in moved):
            charts.append(
                Chart(
                    "How far one step moves each layer",
                    x_label="update / weight",
                    bars=moved,
                    marks=tuple(Mark(at, f"{at:g}") for at in HEALTHY),
                    log_x=True,
                )
            )
        return tuple(charts)

    def rows(self) -> tuple[tuple[str, str], ...]:
        rows = [("loss", f"{short(self.loss)} over {self.batches} batches, {self.examples} examples")]
        if self.grad_norm is not None:
            rows.append(("gradient norm", short(self.grad_norm)))
        if self.first_over_last is not None:
            rows.append(("first layers over last", f"{short(self.first_over_last)} (healthy: 0.001 to 70)"))
        if self.dead_fraction is not None:
            worst = f"; {percent(self.worst_dead_fraction or 0)} in {self.worst_layer}" if self.worst_layer else ""
            rows.append(("dead units", percent(self.dead_fraction) + worst))
        for name, share in self.saturated:
            rows.append((f"saturated in {name}", percent(share)))
        if self.update_ratio is not None:
            rows.append(("update / weight of one step", f"{short(self.update_ratio)} (usual: 1e-4 to 1e-2)"))
        groups = ("frozen", "detached", "unused", "zero", "asleep", "missing", "unmoved", "nonfinite")
        rows += [(_LABELS[g], few(names)) for g in groups if (names := getattr(self, g))]
        return tuple(rows)


_LABELS = {
    "frozen": "frozen",
    "detached": "not reached by the gradient",
    "unused": "never used",
    "zero": "gradient exactly zero",
    "asleep": "no gradient yet",
    "missing": "not in the optimizer",
    "unmoved": "not moved by a step",
    "nonfinite": "gradient not finite",
}


def few(names: tuple[str, ...] | list[str], count: int = 3) -> str:
    """The first names, and how many more.

    >>> few(["a", "b", "c", "d", "e"])
    'a, b, c and 2 more'
    """
    more = len(names) - count
    return ", ".join(names[:count]) + (f" and {more} more" if more > 0 else "")


def _ends(layers: tuple[LayerGradient, ...]) -> tuple[LayerGradient, ...]:
    half = _SHOWN // 2
    return layers if len(layers) <= _SHOWN else (*layers[:half], *layers[-half:])
