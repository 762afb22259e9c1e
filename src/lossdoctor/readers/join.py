"""From what the files of a folder gave to runs: joined where one run was written to several files, counted once."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import replace
from itertools import combinations

import numpy as np

from lossdoctor.core.history import TrainingHistory
from lossdoctor.core.names import parse
from lossdoctor.readers.agreement import NO_EVIDENCE, key_of, same_run
from lossdoctor.readers.layouts import algoperf, checkpoints, merged, rotated, wandb_runs
from lossdoctor.readers.naming import give_names
from lossdoctor.readers.pieces import Piece, Pieces, grouped
from lossdoctor.readers.split import split_runs
from lossdoctor.readers.splits import event_files, scalars_folders, split_files, split_folders

# Order matters: first what a tool's layout says, then whatever else agrees.
_LAYOUTS: tuple[Callable[[Pieces], Pieces], ...] = (
    wandb_runs,
    checkpoints,
    event_files,
    rotated,
    scalars_folders,
    split_folders,
    split_files,
    algoperf,
)
# Comparing every file of a folder with every other stops paying where a folder holds thousands.
_MANY_PAIRS = 20_000
_BEGINNING = 4  # points


def join(pieces: Pieces) -> list[TrainingHistory]:
    """The runs in what was read, in the order of the first file of each."""
    first = {p.shown: i for i, p in reversed(list(enumerate(pieces)))}
    for layout in _LAYOUTS:
        pieces = layout(pieces)
    pieces = _without_curveless(_counted_once([run for piece in pieces for run in _runs_of(piece)]))
    pieces.sort(key=lambda p: min(first.get(s, len(first)) for s in [p.shown, *p.files]))
    give_names(pieces)
    return [p.history for p in pieces]


def _runs_of(piece: Piece) -> Pieces:
    """The runs that a piece holds; they share its path, and are numbered when all paths are known."""
    path, runs = piece.history.path, split_runs(piece.history)
    if len(runs) == 1:
        return [replace(piece, history=runs[0])]
    for run in runs:
        run.path = path
    return [replace(piece, history=run, of_many=True, files=list(piece.files)) for run in runs]


def _counted_once(pieces: Pieces) -> Pieces:
    """Merge pieces whose curves agree: of one folder, of a folder and one up to two levels below it, or of two formats.

    A trainer's output folder and the ``wandb/`` beside it are such a pair.
    """
    became = list(range(len(pieces)))
    now: list[Piece | None] = list(pieces)

    def place(i: int) -> int:
        while became[i] != i:
            i = became[i]
        return i

    for i, j in _candidates(pieces):
        at, other_at = place(i), place(j)
        one, two = now[at], now[other_at]
        if one is None or two is None or one is two or not same_run(one.history, two.history):
            continue
        winner, other = (one, two) if _richness(one) >= _richness(two) else (two, one)
        keep, drop = min(at, other_at), max(at, other_at)
        now[keep], now[drop] = merged(winner, other), None
        became[drop] = keep
    return [p for p in now if p is not None]


def _candidates(pieces: Pieces) -> list[tuple[int, int]]:
    """Pairs worth comparing: other formats in related folders or with one beginning, files that begin or end alike."""
    full = [i for i, p in enumerate(pieces) if p.size]
    folders: dict[tuple[str, tuple[str, ...]], list[int]] = {}
    for i in full:
        folders.setdefault((pieces[i].root, pieces[i].folder), []).append(i)
    pairs: set[tuple[int, int]] = set()
    for (root, folder), members in folders.items():
        near = [*members]
        for up in (1, 2):
            if up <= len(folder):
                near.extend(folders.get((root, folder[:-up]), ()))
        if len(members) * len(near) <= _MANY_PAIRS:
            pairs.update((min(i, j), max(i, j)) for i in members for j in near if _formats_differ(pieces[i], pieces[j]))
        pairs.update(_same_ends(pieces, members))
    pairs.update(_same_beginnings(pieces, full))
    return sorted(pairs)


def _formats_differ(a: Piece, b: Piece) -> bool:
    return a.history.format != b.history.format and a.shown != b.shown


def _same_ends(pieces: Pieces, members: list[int]) -> set[tuple[int, int]]:
    ends: dict[Hashable, list[int]] = {}
    for i in members:
        for name, curve in pieces[i].history.curves.items():
            if parse(name).kind not in NO_EVIDENCE and len(curve) >= 2:
                with np.errstate(over="ignore"):
                    values = curve.values[[0, -1]].astype(np.float32).tolist()
                for at, value in zip((0, -1), values, strict=True):
                    ends.setdefault((key_of(name), at, int(curve.steps[at]), value), []).append(i)
    pairs: set[tuple[int, int]] = set()
    for alike in ends.values():
        alike = sorted(set(alike))[:50]
        pairs.update((a, b) for a, b in combinations(alike, 2) if pieces[a].shown != pieces[b].shown)
    return pairs


def _same_beginnings(pieces: Pieces, members: list[int]) -> set[tuple[int, int]]:
    """Pieces of different formats, in whatever folders, of which a loss begins with the same steps and values."""
    found: dict[Hashable, list[int]] = {}
    for i in members:
        for name, curve in pieces[i].history.curves.items():
            if parse(name).kind == "loss" and len(curve) >= _BEGINNING:
                with np.errstate(over="ignore"):
                    values = curve.values[:_BEGINNING].astype(np.float32)
                if len(np.unique(values)) == _BEGINNING:
                    steps = curve.steps[:_BEGINNING].tolist()
                    found.setdefault((pieces[i].root, key_of(name), *steps, *values.tolist()), []).append(i)
    alike = (sorted(set(group))[:50] for group in found.values())
    return {pair for group in alike for pair in combinations(group, 2) if _formats_differ(*(pieces[k] for k in pair))}


def _richness(piece: Piece) -> float:
    """Points over all curves; a text log prints fewer digits, so it must have half as many again to win."""
    return piece.size * (0.67 if piece.history.format == "text" else 1.0)


def _without_curveless(pieces: Pieces) -> Pieces:
    """Leave out what holds no curve where another run of the same folder has some."""
    out: Pieces = []
    for group in grouped(pieces, lambda p: (p.root, p.folder)).values():
        filled = [p for p in group if p.size]
        out.extend(filled or _one_of_each_file(group))
    return out


def _one_of_each_file(group: Pieces) -> Pieces:
    return list({p.shown: p for p in group}.values())
