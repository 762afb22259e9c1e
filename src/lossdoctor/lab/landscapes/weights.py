"""States of a model as points, and directions between and around them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lossdoctor.core.errors import UsageError
from lossdoctor.torchkit.objective import unwrapped
from lossdoctor.torchkit.snapshot import Snapshot

Point = dict[str, Tensor]
State = nn.Module | Snapshot | Mapping[str, Tensor]


def parameters_of(model: nn.Module) -> Point:
    """The floating-point parameters by name.

    Raises:
        UsageError: there are none.
    """
    found: Point = {n: p for n, p in unwrapped(model).named_parameters() if p.is_floating_point()}
    if not any(p.numel() for p in found.values()):
        raise UsageError(f"{type(unwrapped(model)).__name__} has no parameters, so it has no loss landscape")
    return found


def tensors_of(state: State) -> Mapping[str, Tensor]:
    """Parameters and buffers by name, of whatever holds them; the prefixes of wrappers are taken off."""
    if isinstance(state, Snapshot):
        return state.tensors
    if isinstance(state, nn.Module):
        plain = unwrapped(state)
        return {**dict(plain.named_parameters()), **dict(plain.named_buffers())}
    return {n.removeprefix("module.").removeprefix("_orig_mod."): t for n, t in state.items()}


def wide(tensor: Tensor) -> Tensor:
    """A copy to calculate with: float32 at least."""
    return tensor.detach().to(_wide_dtype(tensor), copy=True)


def _wide_dtype(tensor: Tensor) -> torch.dtype:
    return torch.float32 if tensor.dtype in (torch.float16, torch.bfloat16) else tensor.dtype


def point(state: State, like: Point) -> Point:
    """The tensors of a state that ``like`` names, on its devices.

    Raises:
        UsageError: one is missing or has another shape.
    """
    held = tensors_of(state)
    found = {}
    for name, tensor in like.items():
        if name not in held:
            raise UsageError(f"the state has no {name!r}; it must come from the same model")
        if held[name].shape != tensor.shape:
            shapes = f"{tuple(held[name].shape)} in the state and {tuple(tensor.shape)} in the model"
            raise UsageError(f"{name} has shape {shapes}; it must come from the same model")
        found[name] = wide(held[name].to(tensor.device))
    return found


def moving(first: State, second: State, model: nn.Module) -> Point:
    """What differs between two states and can be interpolated: parameters and floating-point buffers (batch norm)."""
    names = set(tensors_of(first)) & set(tensors_of(second))
    plain = unwrapped(model)
    buffers = {n: b for n, b in plain.named_buffers() if n in names and b.is_floating_point()}
    return {**parameters_of(model), **buffers}


def filter_normalised(model: nn.Module, seed: int, *, vectors: bool = False) -> Point:
    """A random direction scaled like the weights, filter by filter (Li, Xu, Taylor, Studer, Goldstein 2018, section 4).

    Each filter (the weights of one output channel or neuron) of a Gaussian direction gets the norm of the model's own.
    Biases and the parameters of normalisation layers stay where they are, as in the paper's pictures, unless
    ``vectors`` is set: then each of these vectors counts as one filter. The seed alone decides the direction: it is
    drawn on the CPU by a generator of its own.
    """
    generator = torch.Generator().manual_seed(seed)
    direction = {}
    for name, parameter in parameters_of(model).items():
        drawn = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
        own = parameter.detach().double().cpu()
        if parameter.dim() <= 1:
            scaled = drawn * (own.norm() / drawn.norm().clamp_min(1e-300)) if vectors else torch.zeros_like(drawn)
        else:
            rows, norms = drawn.flatten(1), own.flatten(1).norm(dim=1, keepdim=True)
            scaled = (rows * (norms / rows.norm(dim=1, keepdim=True).clamp_min(1e-300))).view_as(drawn)
        direction[name] = scaled.to(parameter.device, _wide_dtype(parameter))
    return direction


def between(first: Point, second: Point) -> Point:
    """The direction from one point to another."""
    return {n: second[n] - first[n] for n in first}


@dataclass(frozen=True, eq=False)
class PrincipalPlane:
    """The plane of most of a trajectory's variance, through its last point.

    Attributes:
        directions: two orthonormal directions in parameter space.
        path: float64[n, 2], the trajectory in their coordinates; its last row is (0, 0).
        explained: share of the trajectory's variance along each of them.
    """

    directions: tuple[Point, Point]
    path: NDArray[np.float64]
    explained: tuple[float, float]


def principal_plane(trajectory: Sequence[Point]) -> PrincipalPlane:
    """First two principal components of the states of a training run (Li et al. 2018, section 7).

    By the Gram matrix of the n states (n × n, not parameters × parameters), in float64.

    Raises:
        UsageError: fewer than three states, a state that is not finite, or states that lie on one line.
    """
    if len(trajectory) < 3:
        raise UsageError(f"the plane of a trajectory needs at least 3 states, got {len(trajectory)}")
    count, last = len(trajectory), trajectory[-1]
    gram = np.zeros((count, count))
    for name in last:
        rows = torch.stack([(state[name].double() - last[name].double()).flatten().cpu() for state in trajectory])
        gram += (rows @ rows.T).numpy()
    if not np.isfinite(gram).all():
        raise UsageError("a state of the trajectory is not finite: leave out those after the divergence")
    center = np.eye(count) - 1 / count
    values, vectors = np.linalg.eigh(center @ gram @ center)
    values, vectors = values[::-1].clip(0), vectors[:, ::-1]
    if values[1] <= 1e-12 * values[0] or values[0] == 0:
        raise UsageError("the states of the trajectory lie on one line or one point: use interpolate(), or record more")
    mix = center @ vectors[:, :2] / np.sqrt(values[:2])  # directions as sums of (state - last)
    mix *= np.where(gram[0] @ mix > 0, -1.0, 1.0)  # a fixed sign: the run comes from the left and from below
    directions = tuple(_mixed(trajectory, last, mix[:, k]) for k in (0, 1))
    shares = values[:2] / values.sum()
    return PrincipalPlane((directions[0], directions[1]), gram @ mix, (float(shares[0]), float(shares[1])))


def _mixed(trajectory: Sequence[Point], last: Point, weights: NDArray[np.float64]) -> Point:
    direction = {}
    for name, end in last.items():
        total = torch.zeros(end.shape, dtype=torch.float64, device=end.device)
        for weight, state in zip(weights.tolist(), trajectory, strict=True):
            total += weight * (state[name].to(end.device).double() - end.double())
        direction[name] = total.to(end.dtype)
    return direction


class Trajectory:
    """Copies of a model's parameters along its training, for :func:`~lossdoctor.lab.landscapes.trajectory_plane`.

    Call :meth:`record` after every step, or now and then. At most ``most`` states are kept, on the CPU: when they are
    full every second one is dropped and from then on only every second call records.

    >>> model = nn.Linear(1, 1)
    >>> path = Trajectory(model, most=4)
    >>> for _ in range(20):
    ...     path.record()
    >>> len(path.states()) <= 4 + 1, path.steps[-1]
    (True, 19)
    """

    def __init__(self, model: nn.Module, most: int = 200) -> None:
        if most < 4:
            raise UsageError(f"a trajectory keeps at least 4 states, got most={most}")
        self._parameters = parameters_of(model)
        self._most, self._every, self._calls = most, 1, 0
        self._kept: list[tuple[int, Point]] = []
        self._last: tuple[int, Point] | None = None

    def record(self) -> None:
        """Keep the parameters as they are now; the very last call is always kept."""
        now = {n: p.detach().to("cpu", copy=True) for n, p in self._parameters.items()}
        self._last = (self._calls, now)
        if self._calls % self._every == 0:
            self._kept.append(self._last)
            if len(self._kept) > self._most:
                self._kept = self._kept[::2]
                self._every *= 2
        self._calls += 1

    @property
    def steps(self) -> list[int]:
        """The number of the call at which each state was kept, from 0."""
        return [step for step, _ in self._all()]

    def states(self) -> list[Point]:
        """The states in order."""
        return [state for _, state in self._all()]

    def _all(self) -> list[tuple[int, Point]]:
        new = self._last is not None and (not self._kept or self._kept[-1][0] != self._last[0])
        tail = [self._last] if self._last is not None and new else []
        return [*self._kept, *tail]


def points(trajectory: Trajectory | Iterable[State], like: Point) -> list[Point]:
    """All states of a trajectory as points on the CPU."""
    states = trajectory.states() if isinstance(trajectory, Trajectory) else list(trajectory)
    on_host = {n: t.detach().cpu() for n, t in like.items()}
    return [point(state, on_host) for state in states]
