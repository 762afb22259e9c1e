"""The loss of a model at points of a line or a plane: weights are set, the loss is read, everything is put back."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

import torch
from torch import Tensor, nn

from lossdoctor.core.errors import UsageError
from lossdoctor.lab.landscapes.weights import Point
from lossdoctor.torchkit.objective import Objective, unwrapped
from lossdoctor.torchkit.state import preserved

Progress = Callable[[int, int], None]
Coordinates = tuple[float, ...]


class Evaluator:
    """Evaluates the loss at ``origin + a · first + b · second + …``.

    Every value is kept, so that a point asked for twice is evaluated once; with a file they survive the process.

    Attributes:
        evaluations: of the loss, by this object.
    """

    def __init__(
        self,
        model: nn.Module,
        objective: Objective,
        origin: Point,
        directions: Sequence[Point],
        *,
        progress: Progress | None = None,
        store: Store | None = None,
    ) -> None:
        plain = unwrapped(model)
        live = {**dict(plain.named_parameters()), **dict(plain.named_buffers())}
        self._targets = [live[name].data for name in origin]
        self._origin = list(origin.values())
        self._directions = [[d[name].to(o.device) for name, o in origin.items()] for d in directions]
        self._objective, self._progress, self._store = objective, progress, store
        self._known: dict[Coordinates, float] = {} if store is None else store.values
        self._planned = 0
        self.evaluations = 0

    def __call__(self, points: Sequence[Coordinates]) -> list[float]:
        """The losses at these coordinates, in order."""
        new = [p for p in dict.fromkeys(points) if p not in self._known]
        self._planned += len(new)
        for at in new:
            self._set(at)
            value = self._objective.value()
            self.evaluations += 1
            self._known[at] = value
            if self._store is not None:
                self._store.append(at, value)
            if self._progress is not None:
                self._progress(self.evaluations, self._planned)
        return [self._known[p] for p in points]

    @torch.no_grad()
    def _set(self, at: Coordinates) -> None:
        moved: tuple[Tensor, ...] = tuple(self._origin)
        for step, direction in zip(at, self._directions, strict=True):
            if step:
                moved = torch._foreach_add(moved, direction, alpha=step)
        torch._foreach_copy_(self._targets, moved)


@contextmanager
def looking_at(model: nn.Module, *others: object) -> Iterator[None]:
    """The model in evaluation mode; model, mode, buffers and random generators are as before at the end."""
    with preserved(model, *others):
        model.eval()
        yield


class Store:
    """Evaluations in a file of JSON lines: the first names the landscape, each other one holds a point and its loss.

    Lines are appended and handed to the system one by one: a killed process loses at most the point it was at, and a
    line that was cut off is evaluated again.
    """

    def __init__(self, path: str | Path, identity: str) -> None:
        self.path = Path(path)
        self.values: dict[Coordinates, float] = {}
        whole = self._read(identity) if self.path.exists() else 0
        self._stream: TextIO = self.path.open("a", encoding="utf-8")
        self._stream.truncate(whole)
        if not whole:
            self._write({"landscape": identity})

    def append(self, at: Coordinates, value: float) -> None:
        """Add one evaluation."""
        self._write({"at": list(at), "loss": value if math.isfinite(value) else str(value)})

    def close(self) -> None:
        """Close the file; it can be opened again later."""
        self._stream.close()

    def _write(self, row: dict[str, Any]) -> None:
        self._stream.write(json.dumps(row) + "\n")
        self._stream.flush()

    def _read(self, identity: str) -> int:
        """Take in what is there; the length up to the last whole line."""
        whole = 0
        for number, line in enumerate(self.path.read_bytes().splitlines(keepends=True)):
            if not line.endswith(b"\n"):
                break
            try:
                row = json.loads(line)
                if number == 0:
                    held = row["landscape"]
                else:
                    self.values[tuple(map(float, row["at"]))] = float(row["loss"])
            except (ValueError, KeyError, TypeError) as error:
                raise UsageError(
                    f"{self.path}, line {number + 1}: not an evaluation ({error}); give another path"
                ) from error
            if number == 0 and held != identity:
                raise UsageError(
                    f"{self.path} holds evaluations of another model, plane or loss; give another path or delete it"
                )
            whole += len(line)
        return whole


def identity(origin: Point, directions: Sequence[Point], loss: float) -> str:
    """A name for a landscape: its weights and directions bit for bit, and the loss in the middle to six digits."""
    digest = hashlib.sha256()
    for tensors in (origin, *directions):
        for name, tensor in tensors.items():
            digest.update(name.encode())
            digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return f"{digest.hexdigest()[:32]}:{loss:.5e}"
