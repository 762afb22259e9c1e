"""Reading whatever a person points at: files, folders, standard input, URLs."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lossdoctor.core.context import RunContext
from lossdoctor.core.errors import NotRecognizedError, ReadError, UsageError
from lossdoctor.core.history import TrainingHistory
from lossdoctor.core.roles import ROLES
from lossdoctor.readers.base import Reader, Source
from lossdoctor.readers.discover import Found, Search, find
from lossdoctor.readers.join import join
from lossdoctor.readers.pieces import Piece
from lossdoctor.readers.registry import read_source, reader_failed, registry
from lossdoctor.readers.remote import find_remote, is_url

STDIN_BYTES = 1 << 30
# Formats of anything, not of runs alone; and roles that a table of hyperparameters or data may well have.
_TABLES = frozenset({"csv", "jsonl", "json", "parquet", "text"})
_SIDE_ROLES = frozenset({"epoch", "batch_size", "learning_rate", "loss_scale"})
Progress = Callable[[int, int, str], None]


@dataclass
class Scan:
    """What reading some paths gave.

    Attributes:
        histories: the runs, in the order of the paths and, within a folder, in natural order.
        errors: what could not be read, and why; each names its path.
        skipped: how many files of folders nothing recognised; ``skipped_examples`` are the first few.
        notes: remarks that concern no single run (a plugin that cannot be loaded, links not followed).
    """

    histories: list[TrainingHistory] = field(default_factory=list)
    errors: list[ReadError] = field(default_factory=list)
    skipped: int = 0
    skipped_examples: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def scan(
    paths: Iterable[str | os.PathLike[str]] | str | os.PathLike[str],
    *,
    metrics: Mapping[str, str] | None = None,
    context: RunContext | Mapping[str, Any] | None = None,
    progress: Progress | None = None,
    readers: Sequence[Reader] | None = None,
) -> Scan:
    """Read every run under some paths. One bad file never stops the others.

    Args:
        paths: files (also .gz and .zst), folders (searched for runs), ``-`` (standard input) or URLs.
        metrics: role -> metric name, over the automatic mapping, in every run that has the metric.
        context: what is known of the runs, over what their logs say.
        progress: called as ``progress(done, total, path)`` before each file and once at the end.
        readers: the readers to use; all registered ones by default.

    Raises:
        UsageError: ``metrics`` names an unknown role, puts two roles on one metric, or names a metric no run has.
    """
    if isinstance(paths, (str, os.PathLike)):
        paths = [paths]
    given = RunContext.from_pairs(context) if isinstance(context, Mapping) else context
    _check_roles(metrics or {})
    known = registry()
    result = Scan(notes=[] if readers is not None else list(known.notes))
    readers = known.readers if readers is None else tuple(readers)
    found: list[tuple[int, Found]] = []
    searches: list[tuple[str, Search]] = []
    for k, path in enumerate(dict.fromkeys(os.fspath(p) for p in paths)):
        search = Search()
        searches.append((path, search))
        try:
            found.extend((k, f) for f in _find(path, readers, search))
        except ReadError as error:
            search.errors.append(error)
    pieces = _read_all(found, searches, readers, progress)
    for k, (path, search) in enumerate(searches):
        histories = join(pieces[k])
        result.histories.extend(histories)
        result.errors.extend(search.errors)
        result.notes.extend(search.notes)
        result.skipped += search.skipped
        result.skipped_examples.extend(search.examples)
        if not histories and not search.errors:
            result.errors.append(_no_runs(path, search))
    _tell(result.histories, metrics or {}, given)
    return result


def read(
    path: str | os.PathLike[str],
    *,
    metrics: Mapping[str, str] | None = None,
    context: RunContext | Mapping[str, Any] | None = None,
) -> list[TrainingHistory]:
    """Read the runs under one path.

    Args:
        path: a file (also .gz and .zst), a folder (searched for runs), ``-`` (standard input) or a URL.
        metrics: role -> metric name, over the automatic mapping.
        context: what is known of the runs, over what their logs say.

    Returns:
        One history per run, never none. In a folder, files that nothing recognises are left out, and so are broken
        ones as long as another can be read; :func:`scan` tells of them.

    Raises:
        NotRecognizedError: no reader recognises the file.
        MissingDependencyError: its format needs a package that is not installed.
        BrokenFileError: it is broken; the message says where.
        ReadError: it is missing, cannot be opened, or is a folder without runs.
        UsageError: ``metrics`` does not fit the runs.

    >>> import tempfile, pathlib
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     log = pathlib.Path(folder, "log.csv")
    ...     _ = log.write_text("step,loss\\n" + "\\n".join(f"{i},{1 / i}" for i in range(1, 21)))
    ...     read(log)[0].points
    20
    """
    result = scan([path], metrics=metrics, context=context)
    if not result.histories:
        raise result.errors[0]
    return result.histories


def _find(path: str, readers: Sequence[Reader], search: Search) -> Iterable[Found]:
    if path == "-":
        return [Found("-", "-", source=_standard_input())]
    if path.startswith("file://"):
        from urllib.parse import urlsplit
        from urllib.request import url2pathname

        path = url2pathname(urlsplit(path).path)
    if is_url(path):
        return find_remote(path, search)
    return find(path, readers, search)


def _standard_input() -> Source:
    stream = getattr(sys.stdin, "buffer", None)
    if stream is None or stream.closed:
        raise ReadError(
            "-", "there is no standard input", hint="pipe a log into it: cat train.log | lossdoctor diagnose -"
        )
    if stream.isatty():
        raise ReadError(
            "-", "standard input is a terminal", hint="pipe a log into it: cat train.log | lossdoctor diagnose -"
        )
    data = stream.read(STDIN_BYTES + 1)
    if len(data) > STDIN_BYTES:
        raise ReadError(
            "-", f"standard input holds more than {STDIN_BYTES >> 20:,} MiB", hint="give the path of a file"
        )
    if not data:
        raise NotRecognizedError("-", "standard input is empty", hint="check the command before the pipe")
    return Source("-", "standard input", data=data)


def _read_all(
    found: list[tuple[int, Found]],
    searches: list[tuple[str, Search]],
    readers: Sequence[Reader],
    progress: Progress | None,
) -> list[list[Piece]]:
    pieces: list[list[Piece]] = [[] for _ in searches]
    for done, (k, item) in enumerate(found):
        if progress is not None:
            progress(done, len(found), item.shown)
        search = searches[k][1]
        try:
            histories = _read_one(item, readers)
        except NotRecognizedError as error:
            if item.named:
                search.errors.append(error)
            else:
                search.skip(item.shown)
        except ReadError as error:
            search.errors.append(error)
        else:
            if not item.named and not any(_is_run(h) for h in histories):
                search.skip(item.shown)
                continue
            many = len(histories) > 1
            pieces[k].extend(Piece(h, item.root, item.parts, item.shown, many) for h in histories)
    if progress is not None and found:
        progress(len(found), len(found), found[-1][1].shown)
    return pieces


def _is_run(history: TrainingHistory) -> bool:
    """Whether what was found in a folder is a run: a table of numbers may be the data that a model was trained on."""
    if history.format not in _TABLES or not history.curves:
        return True
    roles = history.roles
    return bool(roles.names.keys() - _SIDE_ROLES or roles.auxiliary or roles.adversarial)


def _read_one(item: Found, readers: Sequence[Reader]) -> list[TrainingHistory]:
    if item.source is not None:
        return read_source(item.source, readers)
    assert item.folder is not None
    assert item.reader is not None
    try:
        histories = item.reader.read_folder(item.folder, item.shown)
    except ReadError:
        raise
    except Exception as error:
        raise reader_failed(item.shown, item.reader, error) from error
    for history in histories:
        if history.format in ("", "memory"):
            history.format = item.reader.name
    return histories


def _no_runs(path: str, search: Search) -> ReadError:
    if search.skipped:
        some = ", ".join(os.path.relpath(e, path) if "://" not in path else e for e in search.examples[:3])
        problem = f"no runs found: none of its {search.skipped:,} files is a training log that lossdoctor knows ({some}"
        problem += ", …)" if search.skipped > 3 else ")"
    else:
        problem = "no runs found: the folder holds no files (hidden ones are not looked at)"
    return NotRecognizedError(path, problem, hint="name the log itself, or a folder above it")


def _check_roles(metrics: Mapping[str, str]) -> None:
    names = list(metrics.values())
    for role, name in metrics.items():
        if role not in ROLES:
            raise UsageError(f"unknown role {role!r} in --metric; roles are {', '.join(ROLES)}")
        if names.count(name) > 1:
            both = " and ".join(r for r, n in metrics.items() if n == name)
            raise UsageError(f"--metric puts both {both} on {name!r}; a metric can play one role")


def _tell(histories: list[TrainingHistory], metrics: Mapping[str, str], context: RunContext | None) -> None:
    """Put the user's roles and context over what was found; a role no run has the metric for is an error."""
    for role, name in metrics.items():
        if histories and not any(name in h for h in histories):
            have = sorted({n for h in histories for n in h.curves})
            some = ", ".join(have[:12]) + (", …" if len(have) > 12 else "")
            raise UsageError(f"--metric {role}={name}: no run has a metric {name!r}; there are {some or 'none'}")
    for history in histories:
        history.context = history.context.merged(context)
        present = {role: name for role, name in metrics.items() if name in history}
        history.set_roles(present)
        if missing := [name for name in metrics.values() if name not in history]:
            history.notes.append(
                f"this run has no metric {', '.join(map(repr, missing))}: its roles are the automatic ones"
            )
