"""Layouts in which known tools spread one run over several files. Each takes pieces and gives back fewer."""

from __future__ import annotations

import re

import numpy as np

from lossdoctor.core.names import parse
from lossdoctor.readers.agreement import agreeing, is_prefix, shared_names
from lossdoctor.readers.pieces import Piece, Pieces, absorb, concatenated, grouped, merge_groups, rebuilt

_WANDB_RUN = re.compile(r"(?:offline-)?run-\d{8}_\d{6}-\w+$")
_CHECKPOINT = re.compile(r"checkpoint[-_].+|checkpoint$|epoch[-_]?\d+$|step[-_]?\d+$")
_ROTATED = re.compile(r"(?P<base>.+?)\.(?P<number>\d{1,4})$")


def wandb_runs(pieces: Pieces) -> Pieces:
    """A Weights & Biases run folder is one run: its binary history, else its output, else its summary."""

    def run_of(piece: Piece) -> tuple[str, tuple[str, ...]] | None:
        for depth, part in enumerate(piece.parts[:-1], 1):
            if _WANDB_RUN.match(part):
                return piece.root, piece.parts[:depth]
        # the run folder itself was named, or its files were copied: the layout below it tells
        if piece.file.endswith(".wandb") or (piece.parts[-2:-1] == ("files",) and piece.file in _WANDB_FILES):
            top = piece.parts[:-1] if piece.file.endswith(".wandb") else piece.parts[:-2]
            return piece.root, top
        return None

    def worth(piece: Piece) -> tuple[bool, int, int]:
        order = {"wandb": 2, "text": 1}.get(piece.history.format, 0)
        loss = any(parse(n).kind == "loss" for n in piece.history.curves)
        return (loss, order, piece.size)

    gone: set[int] = set()
    for (_, folder), group in grouped(pieces, run_of).items():
        if len(group) < 2 or not any(p.history.format == "wandb" or p.file in _WANDB_FILES for p in group):
            continue
        best = max(group, key=worth)
        keep = [p for p in group if p.of_many and p.shown == best.shown]
        for other in group:
            if other is best or other in keep:
                continue
            told = other.size and other.history.format != "wandb-summary"
            absorb(best, other, f"{_rel(other, folder)} tells of the same run and is left out" if told else "")
            gone.add(id(other))
        best.level = len(folder)
    return [p for p in pieces if id(p) not in gone]


_WANDB_FILES = frozenset(
    {"output.log", "wandb-summary.json", "wandb-history.jsonl", "config.yaml", "wandb-metadata.json"}
)


def checkpoints(pieces: Pieces) -> Pieces:
    """Trainer states of checkpoints that are beginnings of one another count once: the longest."""

    def output_of(piece: Piece) -> tuple[str, tuple[str, ...], str] | None:
        if piece.of_many or not piece.parts:
            return None
        folder = piece.parts[:-1]
        if folder and _CHECKPOINT.match(folder[-1]):
            return piece.root, folder[:-1], piece.file
        return piece.root, folder, piece.file

    gone: set[int] = set()
    for (_, folder, _), group in grouped(pieces, output_of).items():
        if len(group) < 2:
            if group[0].file == "trainer_state.json":
                group[0].level = len(folder)
            continue
        longest: Pieces = []
        counts: dict[int, int] = {}
        for piece in sorted(group, key=lambda p: (-p.history.points, -p.size, len(p.parts))):
            owner = next((k for k in longest if is_prefix(piece.history, k.history)), None)
            if owner is None:
                longest.append(piece)
            else:
                absorb(owner, piece)
                counts[id(owner)] = counts.get(id(owner), 0) + 1
                gone.add(id(piece))
        for piece in longest:
            if n := counts.get(id(piece)):
                what = "checkpoint holds a beginning" if n == 1 else "checkpoints hold beginnings"
                piece.history.notes.append(f"{n} {what} of the same log and {'is' if n == 1 else 'are'} counted once")
                piece.level = len(folder)
    return [p for p in pieces if id(p) not in gone]


def rotated(pieces: Pieces) -> Pieces:
    """``train.log.2``, ``train.log.1`` and ``train.log`` are one log, the highest number being the oldest."""

    def log_of(piece: Piece) -> tuple[str, tuple[str, ...], str] | None:
        if piece.of_many or piece.is_events or piece.history.format not in ("text", "jsonl", "csv"):
            return None
        name = piece.file.removesuffix(".gz").removesuffix(".zst")
        match = _ROTATED.match(name)
        return piece.root, piece.folder, match["base"] if match and "." in match["base"] else name

    def number(piece: Piece) -> int:
        match = _ROTATED.match(piece.file.removesuffix(".gz").removesuffix(".zst"))
        return int(match["number"]) if match else 0

    def join(group: Pieces) -> Pieces:
        if len({number(p) for p in group}) < len(group):
            return group
        group = sorted(group, key=lambda p: -number(p))
        notes = [f"joined from {len(group)} rotated files", *(n for p in group for n in p.history.notes)]
        last = group[-1]
        joined = rebuilt(last, concatenated([p.history for p in group]), notes=notes)
        for other in group[:-1]:
            absorb(joined, other)
        return [joined]

    return merge_groups(pieces, log_of, join)


def algoperf(pieces: Pieces) -> Pieces:
    """``measurements.csv`` and ``eval_measurements.csv`` of one trial, joined curve by curve: the longer one stays."""

    def trial_of(piece: Piece) -> tuple[str, tuple[str, ...]] | None:
        known = piece.stem in ("measurements", "eval_measurements") and not piece.of_many
        return (piece.root, piece.folder) if known else None

    def join(group: Pieces) -> Pieces:
        group = sorted(group, key=lambda p: p.stem != "measurements")
        winner = group[0]
        for other in group[1:]:
            if any(
                agreeing(winner.history[a], other.history[b]) is None
                for a, b in shared_names(winner.history, other.history)
            ):
                return group
            winner = merged(winner, other)
        return [winner]

    return merge_groups(pieces, trial_of, join)


def merged(winner: Piece, other: Piece) -> Piece:
    """The richer of two pieces of one run, with what only the other has, where both are on one step axis."""
    curves = dict(winner.history.curves)
    added = 0
    pairs = shared_names(winner.history, other.history)
    one_axis = any(len(np.intersect1d(winner.history[a].steps, other.history[b].steps)) >= 2 for a, b in pairs)
    if one_axis:
        known = {b: a for a, b in pairs}
        for name, curve in other.history.curves.items():
            mine = known.get(name, name)
            if mine not in curves or len(curve) > len(curves[mine]):
                added += 1
                curves[mine] = curve
    depth = min(len(winner.folder), len(other.folder))
    near = winner.folder[:depth] == other.folder[:depth]
    note = f"{(other.file if near else '') or other.shown} tells of the same run"
    note += f": {added} curves are taken from it" if added else " and is left out"
    joined = rebuilt(winner, curves)
    absorb(joined, other, note)
    joined.level = depth if near else winner.level
    return joined


def _rel(piece: Piece, folder: tuple[str, ...]) -> str:
    return "/".join(piece.parts[len(folder) :]) or piece.file
