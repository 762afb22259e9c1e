"""What check_gradients sees: norms, rows without a gradient, updates. They stay on the device until all are there."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn

from lossdoctor.core.errors import LossdoctorError, UsageError, UserCodeError
from lossdoctor.probes.batches import examples as sizes
from lossdoctor.probes.batches import joined, mapped, split, tensors
from lossdoctor.probes.gradients.watch import RECTIFIERS, Watch, forward_order, norms, unit_layers
from lossdoctor.probes.learning_rate.steps import Steps
from lossdoctor.probes.subject import Subject
from lossdoctor.torchkit.norms import UpdateMeter, UpdateRatios

__all__ = ["EDGE", "EXPLODING", "VANISHING", "Measured", "Passes", "learned_share", "nudge", "sizes", "updates"]

EDGE = 3  # layers looked at on either side, as rules do with logged norms
VANISHING, EXPLODING = 1e-3, 70.0  # of first over last
_NUDGE = 1e-3  # how far weights are moved, relative to their size, to see what wakes up


class Passes:
    """Backward passes at one place in weight space."""

    def __init__(self, subject: Subject, autocast: torch.dtype | None) -> None:
        self.subject, self.autocast = subject, autocast
        self.named = dict(subject.model.named_parameters())
        self.units = unit_layers(subject.model)
        self.losses: list[Tensor] = []
        self.norms: list[tuple[tuple[str, ...], Tensor]] = []
        self.alive: dict[str, Tensor] = {}
        self.inputs: list[Tensor] = []
        scaler = subject.scaler
        self.scale = float(scaler.get_scale()) if scaler is not None and scaler.is_enabled() else 1.0

    def run(self, batch: Any, number: int, watch: Watch | None = None) -> bool:
        """One batch; False when its loss has no graph."""
        for parameter in self.named.values():
            parameter.grad = None
        around: AbstractContextManager[Any] = nullcontext() if watch is None else watch
        with around, cast(self.subject, self.autocast):
            loss = self.subject.loss(batch, number)
        self.losses.append(loss.detach())
        if not loss.requires_grad:
            return False
        try:
            (loss * self.scale).backward()  # type: ignore[no-untyped-call]
        except LossdoctorError:
            raise
        except Exception as error:
            raise UserCodeError(f"the backward pass, on batch {number}", error) from error
        found = {name: p.grad for name, p in self.named.items() if p.grad is not None}
        self.norms.append((tuple(found), norms(list(found.values())) / self.scale))
        self._rows()
        if watch is not None:
            self._scale_of_inputs(batch)
        return True

    @torch.no_grad()
    def _rows(self) -> None:
        for layer, (weight, bias) in self.units.items():
            if weight.grad is None or weight.grad.layout is not torch.strided or not weight.numel():
                continue
            alive = (weight.grad != 0).flatten(1).any(1)
            if bias is not None and bias.grad is not None and bias.grad.shape == alive.shape:
                alive = alive | (bias.grad != 0)
            self.alive[layer] = self.alive[layer] | alive if layer in self.alive else alive

    def _scale_of_inputs(self, batch: Any) -> None:
        try:
            inputs = split(batch)[0]
        except UsageError:
            inputs = batch
        self.inputs += [t.detach().double().square().mean() for t in tensors(inputs) if t.is_floating_point()]


@dataclass
class Measured:
    """All numbers of one check, on the host.

    Attributes:
        order: (name, parameter) in the order of the forward pass.
        norms: parameter -> its gradient norm in every pass that gave one.
        dead: layer -> (dead units, units).
        asleep: parameters whose gradient was exactly zero and is not after a small move of all weights.
        learned: loss over the loss with permuted targets, where that was asked; below 1 the model has learned.
    """

    subject: Subject
    batches: int
    examples: int
    mixed: bool
    steps: int = 0
    graph: bool = False
    losses: list[float] = field(default_factory=list)
    order: list[tuple[str, nn.Parameter]] = field(default_factory=list)
    called: frozenset[str] = frozenset()
    norms: dict[str, list[float]] = field(default_factory=dict)
    totals: list[float] = field(default_factory=list)
    weights: dict[str, float] = field(default_factory=dict)
    gains: dict[str, float] = field(default_factory=dict)
    dead: dict[str, tuple[int, int]] = field(default_factory=dict)
    asleep: tuple[str, ...] = ()
    saturated: dict[str, float] = field(default_factory=dict)
    rectified: bool = False
    input_rms: float | None = None
    updates: list[UpdateRatios] = field(default_factory=list)
    learned: float | None = None
    _alive: dict[str, Tensor] = field(default_factory=dict)

    @classmethod
    def of(cls, subject: Subject, batches: Sequence[Any], autocast: torch.dtype | None) -> Measured:
        low = any(p.dtype in (torch.float16, torch.bfloat16) for p in subject.model.parameters())
        scaled = subject.scaler is not None and subject.scaler.is_enabled()
        found = cls(subject, len(batches), sum(map(sizes, batches)), low or scaled or autocast is not None)
        found.order = list(subject.model.named_parameters())
        found.steps = 1
        return found

    def first_passes(self, passes: Passes, watch: Watch) -> None:
        """Bring everything to the host, once."""
        self.graph, self.steps = True, len(passes.losses)
        self.losses = torch.stack(passes.losses).double().tolist()
        self.order = forward_order(self.subject.model, watch)
        self.called = frozenset(watch.first_calls)
        self._read_norms(passes)
        named = [(n, p) for n, p in self.order if p.numel()]
        self.weights = dict(zip([n for n, _ in named], norms([p for _, p in named]).tolist(), strict=True))
        wide = [(n, p) for n, p in named if p.dim() >= 2 and p.is_floating_point() and p.numel() >= 16]
        spreads = torch.stack([_gain(p).to(self.subject.device) for _, p in wide]).tolist() if wide else []
        self.gains = dict(zip([n for n, _ in wide], spreads, strict=True))
        self._alive = {layer: alive.cpu() for layer, alive in passes.alive.items()}
        self.rectified = any(site.kind in RECTIFIERS for site in watch.sites)
        for site in watch.sites:
            if site.kind in RECTIFIERS:
                units = passes.units.get(site.layer)
                # Of a frozen layer only its output tells.
                if units is not None and not units[0].requires_grad and units[0].shape[0] == len(site.seen):
                    self._alive.setdefault(site.layer, site.seen.cpu())
            elif watch.hidden(site):
                self.saturated[site.name] = float(site.seen.mean()) / site.values
        self._count()
        if passes.inputs:
            self.input_rms = math.sqrt(torch.stack([t.cpu() for t in passes.inputs]).mean().item())

    def second_passes(self, passes: Passes) -> None:
        """After a small move: what has a gradient now was only asleep."""
        self.steps += len(passes.losses)
        for layer, alive in passes.alive.items():
            if layer in self._alive:
                self._alive[layer] = self._alive[layer] | alive.cpu()
        self._count()
        ever: set[str] = set()
        for names, values in passes.norms:
            ever |= {n for n, v in zip(names, values.tolist(), strict=True) if v != 0}
        self.asleep = tuple(n for n in self.zero if n in ever)

    @property
    def zero(self) -> list[str]:
        """Parameters whose gradient is there and exactly zero in every pass."""
        return [n for n, _ in self.order if n in self.norms and not any(self.norms[n])]

    @property
    def none(self) -> list[str]:
        """Parameters that require a gradient and never had one."""
        return [n for n, p in self.order if p.requires_grad and n not in self.norms]

    @property
    def doubtful(self) -> bool:
        """Whether anything got a gradient of exactly zero."""
        return bool(self.zero) or any(n for n, _ in self.dead.values())

    @property
    def finite(self) -> bool:
        """Whether all losses and gradients are finite."""
        return all(map(math.isfinite, [*self.losses, *self.totals]))

    @property
    def steppable(self) -> bool:
        """Whether the optimizer holds any of the trainable parameters."""
        return bool(self.held & {id(p) for p in self.subject.parameters})

    @property
    def held(self) -> set[int]:
        """What the optimizer holds, by identity."""
        optimizer = self.subject.optimizer
        return set() if optimizer is None else {id(p) for g in optimizer.param_groups for p in g["params"]}

    @property
    def layers(self) -> list[str]:
        """Weights that have a gradient, in the order of the forward pass."""
        return [n for n, p in self.order if p.dim() >= 2 and n in self.norms]

    @property
    def first_over_last(self) -> float | None:
        """The ratio that rules read; None with fewer than four layers that can be compared."""
        embeddings, shared = _incomparable(self.subject.model)
        chosen = [n for n in self.layers if n not in embeddings and n not in shared]
        if len(chosen) < 4:
            return None
        edge = min(EDGE, len(chosen) // 2)
        typical = [median(self.norms[n]) for n in chosen]
        first, last = median(typical[:edge]), median(typical[-edge:])
        return first / last if last > 0 and math.isfinite(first) else None

    @property
    def extreme(self) -> bool:
        """Whether the ratio of first to last layers says that gradients vanish or explode."""
        ratio = self.first_over_last
        return ratio is not None and not VANISHING <= ratio <= EXPLODING

    def _read_norms(self, passes: Passes) -> None:
        for names, values in passes.norms:
            here = values.tolist()
            self.totals.append(math.hypot(*here))
            for name, value in zip(names, here, strict=True):
                self.norms.setdefault(name, []).append(value)

    def _count(self) -> None:
        self.dead = {layer: (int((~alive).sum()), len(alive)) for layer, alive in self._alive.items()}


def _incomparable(model: nn.Module) -> tuple[set[str], set[str]]:
    """Weights of embeddings, whose rows are used rarely, and those that are used in two places."""
    names: dict[int, list[str]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        names.setdefault(id(parameter), []).append(name)
    kinds = (nn.Embedding, nn.EmbeddingBag)
    embeddings = {f"{n}.weight" for n, m in model.named_modules() if isinstance(m, kinds)}
    return embeddings, {n for same in names.values() if len(same) > 1 for n in same}


def _gain(weight: Tensor) -> Tensor:
    """Spread of a weight times √inputs: 0.58 as torch begins, 1 for Xavier, 1.4 for He, 0 for a constant."""
    rows = weight.detach().flatten(1).float()
    return (rows - rows[0, 0]).std() * math.sqrt(rows.shape[1])  # the difference, or a constant's spread is no zero


@torch.no_grad()
def nudge(parameters: Sequence[nn.Parameter]) -> None:
    """Move every parameter a thousandth of its size along its gradient; zeros a thousandth of what is usual."""
    for p in parameters:
        if p.grad is None or p.grad.layout is not torch.strided or not p.numel():
            continue
        usual = 0.01 * math.sqrt(p.numel())
        length = _NUDGE * p.norm().clamp_min(usual)
        p.sub_(p.grad * (length / p.grad.norm().clamp_min(torch.finfo(p.dtype).tiny)))


def updates(steps: Steps, batches: Sequence[Any], tell: Callable[[int], None]) -> list[UpdateRatios]:
    """The ratio of update to weight of one step per batch, one after the other."""
    meter = UpdateMeter(steps.subject.model)
    pending = []
    for number, batch in enumerate(batches):
        meter.before()
        steps.step([batch], number)
        pending.append(meter.after())
        tell(number + 1)
    return [p.result() for p in pending]


@torch.no_grad()
def learned_share(subject: Subject, batches: Sequence[Any], autocast: torch.dtype | None) -> float | None:
    """The loss over the loss with the targets of other examples; near 1 nothing has been learned. None if unknown."""
    right, wrong = [], []
    for number, batch in enumerate(batches):
        try:
            target = split(batch)[1]
        except UsageError:
            return None
        size = sizes(batch)
        if size < 2:
            return None
        # Rolling by half keeps no example where it is; sorted batches get other classes.
        other = mapped(target, lambda t, by=size // 2: t.roll(by, 0) if t.dim() else t)  # type: ignore[misc]
        with cast(subject, autocast):
            right.append(subject.loss(batch, number).detach())
            wrong.append(subject.loss(joined(batch, target=other), number).detach())
    a, b = (float(torch.stack(losses).double().mean()) for losses in (right, wrong))
    return a / b if b > 0 and math.isfinite(a) else None


def cast(subject: Subject, autocast: torch.dtype | None) -> AbstractContextManager[Any]:
    """Mixed precision, where the run uses it."""
    return nullcontext() if autocast is None else torch.autocast(subject.device.type, dtype=autocast)
