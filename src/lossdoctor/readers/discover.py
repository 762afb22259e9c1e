"""From a path to the files and folders worth reading, in a fixed order."""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from lossdoctor.core.errors import ReadError
from lossdoctor.readers.base import Reader, Source

MAX_DEPTH = 64
SKIPPED_EXAMPLES = 10

_SKIPPED_FOLDERS = frozenset({"node_modules", "__pycache__", "site-packages", "dist-packages", "$RECYCLE.BIN"})
_ENVIRONMENT_MARKS = frozenset({"pyvenv.cfg", "conda-meta"})

# In a folder these are not even opened: they hold weights, data, pictures, programs or documents, and a document with
# a table of losses is no run. A file that is named on the command line is opened whatever it is called.
_NO_LOG_SUFFIXES = """
    .bin .pt .pth .ckpt .safetensors .onnx .gguf .h5 .hdf5 .keras .pb .tflite .npy .npz .pkl .pickle .joblib .mdb
    .png .jpg .jpeg .gif .bmp .webp .svg .pdf .eps .tif .tiff .mp4 .avi .mov .mkv .webm .mp3 .wav .flac .ogg
    .zip .tar .tgz .bz2 .xz .7z .rar .whl .egg .jar .so .dll .exe .o .a .pyc .pyd .class .arrow .tfrecord .idx .spm
    .py .pyx .ipynb .c .cc .cpp .cu .h .hpp .rs .go .java .js .ts .css .sh .md .rst .html .htm .tex
    .yaml .yml .toml .cfg .ini .lock .model .vocab .ttf .woff .woff2
"""
_NO_LOGS = frozenset(_NO_LOG_SUFFIXES.split())
_DIGITS = re.compile(r"(\d+)")


@dataclass(frozen=True)
class Found:
    """One thing to read: a file, or a whole folder that a reader claims.

    Attributes:
        shown: how messages and results name it.
        root: the path that the user gave and under which it was found.
        parts: its path below that root; empty for a file that was named itself.
        source: the file, or None for a claimed folder.
        folder, reader: the claimed folder and who claims it.
    """

    shown: str
    root: str
    parts: tuple[str, ...] = ()
    source: Source | None = None
    folder: Path | None = None
    reader: Reader | None = None

    @property
    def named(self) -> bool:
        """Whether the user named this very thing."""
        return not self.parts


@dataclass
class Search:
    """What a search came upon besides the things to read."""

    skipped: int = 0
    examples: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    errors: list[ReadError] = field(default_factory=list)

    def skip(self, shown: str) -> None:
        """Count a file that is no log, and remember the first few."""
        self.skipped += 1
        if len(self.examples) < SKIPPED_EXAMPLES:
            self.examples.append(shown)


def natural(name: str) -> tuple[tuple[int, int, str], ...]:
    """A sort key under which version_2 comes before version_10.

    >>> sorted(["version_10", "version_2"], key=natural)
    ['version_2', 'version_10']
    """
    return tuple((1, int(p), "") if p.isdecimal() and p.isascii() else (0, 0, p) for p in _DIGITS.split(name) if p)


def find(given: str, readers: Iterable[Reader], search: Search) -> Iterator[Found]:
    """The files and claimed folders of a local path.

    Raises:
        ReadError: the path does not exist, cannot be looked at, or is neither a file nor a folder.
    """
    if not given:
        raise ReadError(given, "the path is empty", hint="give a file, a folder, a URL or - for standard input")
    path = Path(given)
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError) as error:
        raise _no_path(given, path, error) from None
    if stat.S_ISDIR(mode):
        yield from _Walk(given, tuple(readers), search).run()
    elif stat.S_ISREG(mode):
        yield Found(given, given, source=Source.from_path(path, given))
    else:
        kind = "a named pipe" if stat.S_ISFIFO(mode) else "a socket" if stat.S_ISSOCK(mode) else "a device"
        raise ReadError(
            given, f"is {kind}, not a file", hint="pipe its content into standard input and give - as the path"
        )


def _no_path(given: str, path: Path, error: OSError | ValueError) -> ReadError:
    code = error.errno if isinstance(error, OSError) else None
    if code == errno.EACCES:
        return ReadError(given, "cannot be looked at (permission denied)", hint="check the permissions of its folders")
    if code == errno.ELOOP:
        return ReadError(given, "is a symbolic link that leads to itself", hint="name the real path")
    if code == errno.ENOENT and path.is_symlink():
        return ReadError(
            given, f"is a symbolic link to {os.readlink(path)}, which does not exist", hint="mend the link"
        )
    if code in (errno.ENOENT, errno.ENOTDIR):
        missing = next((p for p in reversed(path.parents) if not p.is_dir()), None)
        problem = "does not exist" if missing is None else f"does not exist: there is no folder {missing}"
        return ReadError(given, problem, hint="check the spelling")
    reason = getattr(error, "strerror", None) or error
    return ReadError(given, f"cannot be looked at ({reason})", hint="check the path")


class _Walk:
    """A search of one folder: depth first, in natural order, each real folder once."""

    def __init__(self, root: str, readers: tuple[Reader, ...], search: Search) -> None:
        self.root = root
        self.real_root = os.path.realpath(root)
        self.search = search
        self.claimers = [r for r in readers if type(r).claims is not Reader.claims]
        self.seen: set[tuple[int, int]] = set()
        self.outside: list[str] = []

    def run(self) -> Iterator[Found]:
        yield from self._folder(self.root, ())
        if self.outside:
            some = ", ".join(self.outside[:3])
            self.search.notes.append(
                f"{self.root}: {len(self.outside)} links lead outside of it and were not followed ({some});"
                " name their targets to read them"
            )

    def _folder(self, folder: str, parts: tuple[str, ...]) -> Iterator[Found]:
        try:
            info = os.stat(folder)
            if (info.st_dev, info.st_ino) in self.seen:  # a link to a folder that was read already, or a loop
                return
            self.seen.add((info.st_dev, info.st_ino))
            with os.scandir(folder) as listing:
                entries = sorted(listing, key=lambda e: natural(e.name))
        except OSError as error:
            reason = error.strerror or type(error).__name__
            problem = f"this folder cannot be listed ({reason})"
            self.search.errors.append(ReadError(folder, problem, hint="check its permissions"))
            return
        names = frozenset(e.name for e in entries)
        if names & _ENVIRONMENT_MARKS and parts:
            return
        claimer = next((r for r in self.claimers if _claims(r, Path(folder), names)), None)
        if claimer is not None:
            yield Found(folder, self.root, parts, folder=Path(folder), reader=claimer)
            return
        for entry in entries:
            yield from self._entry(entry, (*parts, entry.name))

    def _entry(self, entry: os.DirEntry[str], parts: tuple[str, ...]) -> Iterator[Found]:
        if entry.name.startswith("."):
            return
        try:
            if entry.is_dir():
                if entry.name in _SKIPPED_FOLDERS or len(parts) > MAX_DEPTH:
                    return
                if entry.is_symlink():  # inside, it is found at its real place
                    if not self._inside(entry.path):
                        self.outside.append(entry.path)
                    return
                yield from self._folder(entry.path, parts)
            elif entry.is_file():
                if entry.is_symlink() and self._inside(entry.path):
                    return
                if _suffix(entry.name) in _NO_LOGS or entry.stat().st_size == 0:
                    self.search.skip(entry.path)
                else:
                    yield Found(entry.path, self.root, parts, source=Source.from_path(Path(entry.path), entry.path))
        except OSError:  # a broken link, or gone since the listing
            self.search.skip(entry.path)

    def _inside(self, path: str) -> bool:
        real = os.path.realpath(path)
        return real == self.real_root or real.startswith(self.real_root.rstrip(os.sep) + os.sep)


def _claims(reader: Reader, folder: Path, names: frozenset[str]) -> bool:
    try:
        return reader.claims(folder, names)
    except Exception:  # a plugin's look at a folder must not stop the search
        return False


def _suffix(name: str) -> str:
    for packed in (".gz", ".zst"):
        name = name.removesuffix(packed)
    return os.path.splitext(name)[1].lower()


def worth_opening(parts: tuple[str, ...]) -> bool:
    """Whether a file found in a remote folder may be a log, judged by its path alone."""
    folders, name = parts[:-1], parts[-1]
    if any(p.startswith(".") for p in parts) or any(p in _SKIPPED_FOLDERS for p in folders):
        return False
    return _suffix(name) not in _NO_LOGS
