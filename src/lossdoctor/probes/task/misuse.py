"""Losses that are given what they do not take, and what they are summed over."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from lossdoctor.core.numbers import short
from lossdoctor.probes.task.task import Seen, Task, aligned, counts, one_hot


@dataclass(frozen=True)
class Misuse:
    """A mistake in how the loss is called: its name, and in words what is seen and what to do."""

    name: str
    text: str


def misuses(task: Task, batch: Seen) -> tuple[Misuse, ...]:
    """All that can be told from one batch: what the model gives beside what the loss takes."""
    output, target = batch.output, batch.target
    if output is None or target is None:
        return ()
    found = []
    if task.categorical and not task.soft and not bool(counts(task, target).any()):
        found.append(Misuse("all-masked", f"every label is {task.ignore} or below 0: nothing is left to learn from"))
    if task.broadcast:
        found.append(
            Misuse(
                "shapes-broadcast",
                f"the outputs have shape {tuple(output.shape)} and the targets {tuple(target.shape)}: the loss compares"
                " every output with every target, and the best that can be learned is their mean; bring both to one"
                " shape",
            )
        )
    if task.categorical and not task.probabilities and task.classes:
        found += _categorical(task, batch)
    # The range alone proves nothing: untrained logits may all lie there.
    if task.loss == "bce_logits" and batch.ending == "sigmoid":
        lowest = task.at(aligned(output, target).clamp(0, 1), target)
        found.append(
            Misuse(
                "sigmoid-twice",
                f"the model ends with a sigmoid and the loss applies another: it cannot fall"
                f" below {'what it should' if lowest is None else short(lowest)}; leave the sigmoid out of the model",
            )
        )
    return tuple(found)


def _categorical(task: Task, batch: Seen) -> list[Misuse]:
    output, target = batch.output, batch.target
    assert output is not None
    assert target is not None
    sums = output.double().sum(task.axis)
    shares = bool((output >= 0).all()) and torch.allclose(sums, torch.ones_like(sums), atol=1e-3)
    if task.loss == "nll":
        logs = output.double().logsumexp(task.axis)
        if torch.allclose(logs, torch.zeros_like(logs), atol=1e-3):
            return []
        given = "probabilities" if shares else "plain outputs"
        return [
            Misuse(
                "not-log-probabilities",
                f"the loss takes logarithms of probabilities and is given {given}: it has no meaning and no lowest"
                " value of 0; end the model with log_softmax, or use a cross-entropy of the logits",
            )
        ]
    if not shares or task.loss == "unknown":
        return []
    lowest = task.at(one_hot(task, target, output), target)
    limit = "what it should" if lowest is None else short(lowest)
    return [
        Misuse(
            "softmax-twice",
            f"the outputs are probabilities already (each example's sum to 1) and the loss applies another softmax:"
            f" it cannot fall below {limit}; leave the softmax out of the model",
        )
    ]


def reduction(task: Task, batch: Seen) -> str:
    """``"mean"`` or ``"sum"`` over the examples, by the loss of both halves of a batch; ``"unknown"`` otherwise."""
    output, target = batch.output, batch.target
    if output is None or target is None or task.broadcast or len(output) < 2 or len(output) != len(target):
        return "unknown"
    cut = len(output) // 2
    whole = task.at(output, target)
    parts = [task.at(output[:cut], target[:cut]), task.at(output[cut:], target[cut:])]
    if whole is None or whole == 0 or parts[0] is None or parts[1] is None:
        return "unknown"
    sizes = [float(counts(task, t).sum()) for t in (target[:cut], target[cut:])]
    mean = (sizes[0] * parts[0] + sizes[1] * parts[1]) / max(sum(sizes), 1.0)
    near = [abs(v / whole - 1) < 1e-3 for v in (mean, parts[0] + parts[1])]
    return "mean" if near == [True, False] else "sum" if near == [False, True] else "unknown"
