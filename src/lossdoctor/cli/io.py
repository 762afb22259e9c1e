"""What commands share: messages, choices with a nearest match, output files, progress on a terminal."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from lossdoctor.core.errors import UsageError, nearest
from lossdoctor.render.escape import visible

Progress = Callable[[int, int, str], None]


def fail(message: str) -> None:
    """One error on standard error."""
    print(f"lossdoctor: error: {visible(message)}", file=sys.stderr)


def remark(message: str) -> None:
    """One remark on standard error."""
    print(f"lossdoctor: {visible(message)}", file=sys.stderr)


def choose(what: str, value: str, allowed: Sequence[str]) -> str:
    """The value when it is allowed, in any case of its letters; else a UsageError with the allowed ones."""
    for word in allowed:
        if value.lower() == word.lower():
            return word
    raise UsageError(f"unknown {what} {value!r}; allowed are {', '.join(allowed)}{nearest(value, allowed)}")


def pairs(values: Iterable[str], flag: str, key: str) -> dict[str, str]:
    """``["a=b"]`` as ``{"a": "b"}``; raises UsageError on one without ``=`` or a key given twice."""
    out: dict[str, str] = {}
    for value in values:
        name, equals, rest = value.partition("=")
        if not equals or not name or not rest:
            raise UsageError(f"{flag} takes {key}, got {value!r}")
        if name in out and out[name] != rest:
            raise UsageError(f"{flag} gives {name} twice: {out[name]!r} and {rest!r}")
        out[name] = rest
    return out


def write_file(path: str, data: bytes | str) -> None:
    """Write an output file whole or not at all; raises UsageError when it cannot be written."""
    content = data.encode() if isinstance(data, str) else data
    with replacing(path) as scratch:
        scratch.write_bytes(content)


@contextmanager
def replacing(path: str) -> Iterator[Path]:
    """A scratch file beside ``path`` (same suffix) that takes its place when the block ends well.

    A path that is no regular file (``/dev/stdout``) is written to directly.
    """
    target = Path(path)
    if target.is_dir():
        raise UsageError(f"{path}: cannot be written (it is a folder); name a file in it")
    if not target.parent.is_dir():
        raise UsageError(f"{path}: cannot be written (there is no folder {target.parent}); make it first")
    direct = target.exists() and not target.is_file()
    scratch = target if direct else target.with_name(f".{target.stem}.{os.getpid()}{target.suffix}")
    try:
        yield scratch
        if not direct:
            scratch.replace(target)
    except OSError as error:
        if isinstance(error, BrokenPipeError):
            raise
        reason = error.strerror or str(error)
        raise UsageError(f"{path}: cannot be written ({reason}); check the folder's permissions") from None
    finally:
        if not direct:
            with suppress(OSError):
                scratch.unlink(missing_ok=True)


def say(content: str | bytes) -> None:
    """Text, or UTF-8 bytes as they are, on standard output, with a newline at the end.

    Bytes (JSON, SARIF, XML, HTML) stay UTF-8 whatever the terminal's encoding: they are meant for programs.
    """
    raw = getattr(sys.stdout, "buffer", None)
    if isinstance(content, bytes) and raw is not None:
        sys.stdout.flush()
        raw.write(content if content.endswith(b"\n") else content + b"\n")
        raw.flush()
    elif sys.stdout is not None:  # None where the process was started without one
        text = content.decode("utf-8") if isinstance(content, bytes) else content
        sys.stdout.write(text if text.endswith("\n") else text + "\n")
        sys.stdout.flush()


@contextmanager
def progress(what: str) -> Iterator[Progress | None]:
    """A one-line progress on standard error while the block runs; None (no progress) where that is no terminal.

    The block calls it with how many are done, how many there are, and what it is at; it draws ten times a second.
    """
    if not sys.stderr.isatty():
        yield None
        return
    import time

    drawn = began = time.monotonic()

    def step(done: int, total: int, name: str) -> None:
        nonlocal drawn
        now = time.monotonic()
        if now - drawn > 0.1:
            drawn = now
            sys.stderr.write(f"\r\x1b[K{what} {done:,} of {total:,}  {visible(name)[-50:]}")
            sys.stderr.flush()

    try:
        yield step
    finally:
        if drawn != began:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
