"""Loss functions of a margin: how much the score of the true class is above the rest."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from lossdoctor.core.errors import UsageError
from lossdoctor.lab.losses.base import LossFunction


def bce() -> LossFunction:
    """Binary cross-entropy log(1 + exp(−z)) of a logit z for the true class; it cannot overflow."""
    return LossFunction(
        "bce",
        "Binary cross-entropy",
        "log(1 + e⁻ᶻ)",
        "classification",
        lambda z: functional.binary_cross_entropy_with_logits(z, torch.ones_like(z), reduction="none"),
        "the log-odds; a wrong label pulls with a force of at most 1, but always",
        "two classes, probabilities wanted",
        "Good (1952)",
    )


def cross_entropy(classes: int = 10) -> LossFunction:
    """Cross-entropy log(1 + (K − 1)exp(−z)) of K classes, where z is the true class's logit over equal others.

    Args:
        classes: K, 2 or more. At z = 0, where nothing is known, it is log K.
    """
    if classes < 2:
        raise UsageError(f"classes is {classes}; a choice needs 2 or more")

    def function(z: Tensor) -> Tensor:
        logits = torch.cat([z.reshape(-1, 1), z.new_zeros(z.numel(), classes - 1)], dim=1)
        target = torch.zeros(z.numel(), dtype=torch.int64)
        return functional.cross_entropy(logits, target, reduction="none").reshape(z.shape)

    return LossFunction(
        "cross_entropy",
        f"Cross-entropy, {classes} classes",
        f"log(1 + {classes - 1}e⁻ᶻ)",
        "classification",
        function,
        "the log-odds against all others",
        "several classes, probabilities wanted",
        "Good (1952)",
    )


def hinge() -> LossFunction:
    """max(0, 1 − z): nothing beyond a margin of 1, so that only the points near the border count."""
    return LossFunction(
        "hinge",
        "Hinge",
        "max(0, 1 − z)",
        "classification",
        lambda z: functional.hinge_embedding_loss(z, -torch.ones_like(z), margin=1.0, reduction="none"),
        "the widest margin; a wrong label pulls with a force of 1, however far away",
        "a decision wanted and no probability",
        "Cortes & Vapnik, Machine Learning 20 (1995)",
    )


def focal(gamma: float = 2.0) -> LossFunction:
    """(1 − p)^γ · −log p with p = σ(z): cross-entropy that lets go of what is easily right.

    Args:
        gamma: γ, 0 or more; 0 is binary cross-entropy.
    """
    if not gamma >= 0.0:
        raise UsageError(f"gamma is {gamma}; the focal loss takes 0 or more")

    def function(z: Tensor) -> Tensor:
        # 1 − p = σ(−z), and its power by its logarithm: exact in both tails.
        return torch.exp(gamma * functional.logsigmoid(-z)) * -functional.logsigmoid(z)

    return LossFunction(
        "focal",
        f"Focal, γ = {gamma:g}",
        "−(1 − p)^γ log p, p = σ(z)",
        "classification",
        function,
        "like cross-entropy where it is wrong, next to nothing where it is right",
        "one class far rarer than the other; not for wrong labels, which it holds on to",
        "Lin et al., arXiv:1708.02002",
    )
