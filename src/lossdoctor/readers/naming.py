"""What the runs of a search are called: a path that tells where each was found, and a short name."""

from __future__ import annotations

import os
from collections.abc import Callable

from lossdoctor.readers.pieces import Piece, Pieces

# File names that say what wrote them and not which run it was.
_GENERIC_NAMES = """
    metrics log logs results history training train output run scalars trainer_state evals_result measurements
    eval_measurements progress data stats training_log training-log log_history wandb-summary wandb-history monitor
"""
_GENERIC = frozenset(_GENERIC_NAMES.split())


def give_names(pieces: Pieces) -> None:
    """Fill in paths and names, so that no two runs share either.

    A run of a single file is called by that file; one of several files by their folder, where it is the only run
    there. Runs that would share a path are numbered; runs that would share a short name have the longer one.
    """
    here: dict[tuple[str, tuple[str, ...]], set[str]] = {}
    for piece in pieces:
        here.setdefault((piece.root, piece.folder), set()).add(piece.shown)
    for piece in pieces:
        history = piece.history
        alone = len(here[piece.root, piece.folder]) == 1 and history.path in ("", piece.shown)
        if alone and piece.files and piece.level is not None:
            history.path = piece.shown_folder()
            history.name = history.name or "/".join(piece.folder) or _base(piece.root)
        else:
            history.path = history.path or piece.shown
            history.name = history.name or run_name(piece.root, piece.parts)
    _tell_apart(pieces, "path", lambda p: p.history.path)
    _tell_apart(pieces, "name", lambda p: "/".join(p.parts) or p.history.path)
    _tell_apart(pieces, "name", lambda p: p.history.path)


def _tell_apart(pieces: Pieces, attribute: str, longer: Callable[[Piece], str]) -> None:
    """Give the runs that share a path or name a longer one, numbered where they share that too."""
    seen: dict[str, list[Piece]] = {}
    for piece in pieces:
        seen.setdefault(getattr(piece.history, attribute), []).append(piece)
    for same in (s for s in seen.values() if len(s) > 1):
        texts = [longer(p) for p in same]
        if len(set(texts)) == 1:  # runs of one file: numbering what they share says enough
            texts = [getattr(p.history, attribute) for p in same]
        for k, (piece, text) in enumerate(zip(same, texts, strict=True), 1):
            setattr(piece.history, attribute, f"{text}#{k}" if texts.count(text) > 1 else text)


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
