"""From what the files of a folder gave to runs: joined where one run was written to several files, counted once."""

from __future__ import annotations

import os
from collections.abc import Callable, Hashable
from itertools import combinations

import numpy as np

from lossdoctor.core.history import TrainingHistory
from lossdoctor.core.names import parse
from lossdoctor.readers.agreement import NO_EVIDENCE, key_of, same_run
from lossdoctor.readers.layouts import algoperf, checkpoints, merged, rotated, wandb_runs
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

# File names that say what wrote them and not which run it was.
_GENERIC_NAMES = """
    metrics log logs results history training train output run scalars trainer_state evals_result measurements
    eval_measurements progress data stats training_log training-log log_history wandb-summary wandb-history monitor
"""
_GENERIC = frozenset(_GENERIC_NAMES.split())


def join(pieces: Pieces) -> list[TrainingHistory]:
    """The runs in what was read, in the order of the first file of each."""
    place = {id(p.history): i for i, p in enumerate(pieces)}
    first = {p.shown: i for i, p in reversed(list(enumerate(pieces)))}
    for layout in _LAYOUTS:
        pieces = layout(pieces)
    pieces = _without_curveless(_counted_once(pieces))
    pieces.sort(
        key=lambda p: min(
            place.get(id(p.history), len(place)), *(first.get(s, len(place)) for s in [p.shown, *p.files])
        )
    )
    runs = []
    for piece in pieces:
        _name(piece)
        runs.extend(split_runs(piece.history))
    _tell_apart(runs)
    return runs


def _counted_once(pieces: Pieces) -> Pieces:
    """Merge pieces of one folder, or of a folder and one up to two levels below it, whose curves agree."""
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
    """Pairs worth comparing: different formats in related folders, and files of one format that begin or end alike."""
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
    return sorted(pairs)


def _formats_differ(a: Piece, b: Piece) -> bool:
    return a.history.format != b.history.format and a.shown != b.shown


def _same_ends(pieces: Pieces, members: list[int]) -> set[tuple[int, int]]:
    ends: dict[Hashable, list[int]] = {}
    for i in members:
        for name, curve in pieces[i].history.curves.items():
            if parse(name).kind not in NO_EVIDENCE and len(curve) >= 2:
                for at in (0, -1):
                    point = (key_of(name), at, int(curve.steps[at]), float(np.float32(curve.values[at])))
                    ends.setdefault(point, []).append(i)
    pairs: set[tuple[int, int]] = set()
    for alike in ends.values():
        alike = sorted(set(alike))[:50]
        pairs.update((a, b) for a, b in combinations(alike, 2) if pieces[a].shown != pieces[b].shown)
    return pairs


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


# names and paths


def _name(piece: Piece) -> None:
    """Fill in path and name: a run of several files is named by its folder, one of a single file by that file."""
    history = piece.history
    if piece.files and piece.level is not None:
        history.path = piece.shown_folder()
        history.name = history.name or "/".join(piece.folder) or _base(piece.root)
    else:
        history.path = history.path or piece.shown
        history.name = history.name or run_name(piece.root, piece.parts)


def run_name(root: str, parts: tuple[str, ...]) -> str:
    """A short name: the path below what the user gave, without file names that every run has.

    >>> run_name("runs", ("a", "metrics.csv")), run_name("runs/b/metrics.csv", ()), run_name("logs", ("x.csv",))
    ('a', 'b', 'x')
    """
    if not parts:
        whole = root.rstrip("/" + os.sep).replace(os.sep, "/")
        parts = (
            tuple(p for p in whole.split("/") if p)[-2:] if "." in os.path.basename(whole) else (whole.split("/")[-1],)
        )
        stem = _stem(parts[-1]) if parts else ""
        return (parts[-2] if len(parts) > 1 and _says_nothing(stem) else stem) or whole or "run"
    stem = _stem(parts[-1])
    named = [*parts[:-1]] if _says_nothing(stem) else [*parts[:-1], stem]
    return "/".join(named) or _base(root) or stem


def _base(root: str) -> str:
    return root.rstrip("/").rsplit("/", 1)[-1] if "://" in root else os.path.basename(os.path.realpath(root))


def _stem(file: str) -> str:
    for packed in (".gz", ".zst"):
        file = file.removesuffix(packed)
    if ".tfevents." in file:
        return "events"
    stem, suffix = os.path.splitext(file)
    return stem if suffix and not suffix[1:].isdigit() else file


def _says_nothing(stem: str) -> bool:
    return stem.lower() in _GENERIC or stem == "events"


def _tell_apart(runs: list[TrainingHistory]) -> None:
    """Number the paths that several runs share, and give the full path as name to those whose short names collide."""
    for attribute in ("path", "name"):
        seen: dict[str, list[TrainingHistory]] = {}
        for run in runs:
            seen.setdefault(getattr(run, attribute), []).append(run)
        for text, same in seen.items():
            if len(same) < 2:
                continue
            for k, run in enumerate(same, 1):
                setattr(run, attribute, f"{text}#{k}" if attribute == "path" else run.path)
