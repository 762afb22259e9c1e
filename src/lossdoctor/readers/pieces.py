"""What has been read and is about to be joined: a history, and the files it came from."""

from __future__ import annotations

import os
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np

from lossdoctor.core.curve import Curve
from lossdoctor.core.history import TrainingHistory

K = TypeVar("K", bound=Hashable)


@dataclass(eq=False)
class Piece:
    """One history with its place below the folder that is being searched.

    Attributes:
        history: what was read.
        root: the folder as the user gave it.
        parts: the path below it; the last part is a file name, or the folder's when the whole folder is one log.
        shown: the path as messages name it.
        of_many: whether the file held other histories too.
        files: further paths that were joined into this one.
        level: the depth of ``folder``: a joined piece may stand for a folder above its first file.
    """

    history: TrainingHistory
    root: str
    parts: tuple[str, ...]
    shown: str
    of_many: bool = False
    files: list[str] = field(default_factory=list)
    level: int | None = None

    @property
    def folder(self) -> tuple[str, ...]:
        """The folder (below the root) that this run belongs to."""
        return self.parts[:-1] if self.level is None else self.parts[: self.level]

    @property
    def file(self) -> str:
        """The file's name."""
        return self.parts[-1] if self.parts else ""

    @property
    def stem(self) -> str:
        """The file's name without its last suffix and compression."""
        name = self.file
        for packed in (".gz", ".zst"):
            name = name.removesuffix(packed)
        return name.rsplit(".", 1)[0] if "." in name[1:] else name

    @property
    def is_events(self) -> bool:
        """Whether it is a TensorBoard event file of one run."""
        return self.history.format == "tensorboard" and not self.of_many

    @property
    def size(self) -> int:
        """Points over all curves."""
        return sum(len(c) for c in self.history.curves.values())

    def shown_folder(self) -> str:
        """The folder of this run as the user would name it."""
        separator = "/" if "://" in self.root else os.sep
        return separator.join([self.root.rstrip(separator), *self.folder]) if self.folder else self.root


Pieces = list[Piece]


def grouped(pieces: Iterable[Piece], key: Callable[[Piece], K | None]) -> dict[K, list[Piece]]:
    """The pieces by key, in order of appearance; a key of None is left out."""
    out: dict[K, list[Piece]] = {}
    for piece in pieces:
        k = key(piece)
        if k is not None:
            out.setdefault(k, []).append(piece)
    return out


def merge_groups(
    pieces: Pieces, key: Callable[[Piece], Hashable | None], join: Callable[[Pieces], Pieces], *, least: int = 2
) -> Pieces:
    """Replace each group of at least ``least`` by what ``join`` makes of it, at the place of its first member."""
    out: Pieces = []
    groups = {k: g for k, g in grouped(pieces, key).items() if len(g) >= least}
    of = {id(p): k for k, g in groups.items() for p in g}
    done: set[Hashable] = set()
    for piece in pieces:
        k = of.get(id(piece))
        if k is None:
            out.append(piece)
        elif k not in done:
            done.add(k)
            out.extend(join(groups[k]))
    return out


def rebuilt(piece: Piece, curves: dict[str, Curve], *, notes: Sequence[str] = ()) -> Piece:
    """The same piece with other curves and more notes."""
    h = piece.history
    history = TrainingHistory(
        curves,
        name=h.name,
        path=h.path,
        format=h.format,
        step_unit=h.step_unit,
        context=h.context,
        notes=list(dict.fromkeys([*h.notes, *notes])),
        events=h.events,
    )
    return Piece(history, piece.root, piece.parts, piece.shown, piece.of_many, list(piece.files), piece.level)


def absorb(winner: Piece, other: Piece, note: str = "") -> None:
    """Let one piece stand for another as well: it takes over its files and what its context alone knows."""
    h = winner.history
    h.context = other.history.context.merged(h.context)
    if note and note not in h.notes:
        h.notes.append(note)
    winner.files.extend([other.shown, *other.files])


def concatenated(parts: Sequence[TrainingHistory], prefix: Sequence[str] = ()) -> dict[str, Curve]:
    """The curves of several histories, one after another; ``prefix`` names those of each."""
    gathered: dict[str, list[Curve]] = {}
    for i, history in enumerate(parts):
        lead = prefix[i] if prefix else ""
        for name, curve in history.curves.items():
            gathered.setdefault(f"{lead}{name}", []).append(curve)
    return {name: _joined(curves) for name, curves in gathered.items()}


def _joined(curves: Sequence[Curve]) -> Curve:
    if len(curves) == 1:
        return curves[0]
    timed = [c.times for c in curves if c.times is not None]
    times = np.concatenate(timed) if len(timed) == len(curves) else None
    return Curve(np.concatenate([c.steps for c in curves]), np.concatenate([c.values for c in curves]), times)
