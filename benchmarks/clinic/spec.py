"""What a task is before it is made: where its data and model come from, and settings that train it well."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from torch import Tensor, nn

from benchmarks.clinic.data import Splits
from benchmarks.clinic.models import Shape

LossFn = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Spec:
    """A task before it is made.

    ``lr`` holds the tuned learning rate of each optimizer at ``batch_size``, by a grid of half decades; ``steps``
    is a budget after which training and validation are level or nearly so with the default optimizer; ``good`` is the
    held-out loss that the best of them reach.

    Attributes:
        kind: ``"classification"``, ``"regression"``, ``"autoencoding"``, ``"variational"``, ``"language"``,
            ``"density"`` (losses may be negative) or ``"adversarial"``.
        codes: inputs are whole numbers that stand for something and cannot be scaled.
        small: so few examples that a share of them must be larger to be anything.
        norm: ``"batch"`` or ``"layer"`` where the model normalises inside.
        recurrent: the model has a cell that may be exchanged.
        metrics: more than the accuracy of a task with classes; larger is better.
        unfit: faults that do not do here what they claim: a shift that a norm takes away again, zeros on a skip path.
        fine_tuned: brings a fresh model to where the task starts from; called with the seed.
        slack: how many times looser truth is told where the held-out measure itself wanders.
    """

    kind: str
    splits: Callable[[int], Splits]
    model: Callable[[Shape], nn.Module]
    loss_fn: LossFn
    shape: Shape
    good: float
    steps: int
    lr: Mapping[str, float]
    batch_size: int = 64
    classes: int | None = None
    weight_decay: float = 0.0
    codes: bool = False
    small: bool = False
    norm: str = ""
    recurrent: bool = False
    metrics: Mapping[str, LossFn] = field(default_factory=dict)
    unfit: frozenset[str] = frozenset()
    fine_tuned: Callable[[nn.Module, int], None] | None = None
    slack: float = 1.0


def rates(adam: float, sgd: float, momentum: float) -> dict[str, float]:
    """The tuned rates by optimizer; AdamW takes Adam's."""
    return {"adam": adam, "adamw": adam, "sgd": sgd, "momentum": momentum}


def unfit(text: str) -> frozenset[str]:
    """Names of faults from one string."""
    return frozenset(text.split())
