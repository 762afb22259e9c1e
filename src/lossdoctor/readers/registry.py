"""Which readers there are, and which of them reads a file: the one whose sniffing is surest."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points

from lossdoctor.core.errors import BrokenFileError, NotRecognizedError, ReadError
from lossdoctor.core.history import TrainingHistory
from lossdoctor.readers.base import PROBE_BYTES, Reader, Source

GROUP = "lossdoctor.readers"

# Also in pyproject.toml as entry points; this copy serves where the package's metadata is missing (a source tree on
# sys.path, a frozen application), and gives the order that decides between equally sure readers.
BUILT_IN = {
    "csv": "lossdoctor.readers.csv:CsvReader",
    "jsonl": "lossdoctor.readers.jsonl:JsonLinesReader",
    "json": "lossdoctor.readers.json_files:JsonReader",
    "tensorboard": "lossdoctor.readers.tensorboard:TensorBoardReader",
    "wandb": "lossdoctor.readers.wandb:WandbReader",
    "wandb-summary": "lossdoctor.readers.wandb_summary:WandbSummaryReader",
    "mlflow": "lossdoctor.readers.mlflow:MlflowReader",
    "parquet": "lossdoctor.readers.parquet:ParquetReader",
    "text": "lossdoctor.readers.textlog:TextLogReader",
}

# The text reader is never surer than this: what another reader is surer of, it is not asked about.
_LATE_AT_MOST = 50

# What people point at by mistake: saying what it is helps more than "not recognised".
_MAGICS = (
    (b"\x89PNG", "a PNG picture"),
    (b"\xff\xd8\xff", "a JPEG picture"),
    (b"GIF8", "a GIF picture"),
    (b"%PDF", "a PDF document"),
    (b"PK\x03\x04", "a ZIP archive (PyTorch checkpoints and .npz files are ZIP archives)"),
    (b"\x80\x02", "a Python pickle, which lossdoctor never opens"),
    (b"\x80\x03", "a Python pickle, which lossdoctor never opens"),
    (b"\x80\x04", "a Python pickle, which lossdoctor never opens"),
    (b"\x80\x05", "a Python pickle, which lossdoctor never opens"),
    (b"\x89HDF", "an HDF5 file"),
    (b"\x93NUMPY", "a NumPy array without names or steps"),
    (b"\x7fELF", "a program"),
    (b"BZh", "a bzip2 archive (unpack it first)"),
    (b"\xfd7zXZ", "an xz archive (unpack it first)"),
    (b"7z\xbc\xaf", "a 7-Zip archive (unpack it first)"),
)


@dataclass(frozen=True)
class Registry:
    """The readers at hand, in the order that breaks ties, and what went wrong in gathering them."""

    readers: tuple[Reader, ...]
    notes: tuple[str, ...] = field(default=())

    @property
    def names(self) -> tuple[str, ...]:
        """The formats' names."""
        return tuple(r.name for r in self.readers)


@lru_cache(maxsize=1)
def registry() -> Registry:
    """The built-in readers and those of plugins (entry points of the group ``lossdoctor.readers``).

    A plugin that cannot be imported, is no Reader, or takes the name of a built-in reader is left out with a note.
    """
    readers: list[Reader] = []
    notes: list[str] = []
    for name, target in BUILT_IN.items():
        if name == "text":
            readers.append(_Late(name, target, "plain-text logs of any training loop"))
        else:
            _load(EntryPoint(name, target, GROUP), readers, notes)
    for point in sorted(entry_points(group=GROUP), key=lambda p: (p.name, p.value)):
        if BUILT_IN.get(point.name) == point.value:
            continue
        if any(r.name == point.name for r in readers):
            notes.append(
                f"reader plugin {point.name!r} ({point.value}) is left out: there is already a reader of that name"
            )
            continue
        _load(point, readers, notes)
    return Registry(tuple(readers), tuple(notes))


def _load(point: EntryPoint, readers: list[Reader], notes: list[str]) -> None:
    module, _, attribute = point.value.partition(":")
    try:
        reader = getattr(import_module(module), attribute)()
        if not isinstance(reader, Reader):
            raise TypeError(f"{attribute} is no lossdoctor.readers.base.Reader")
    except Exception as error:  # whatever a plugin's import does must not stop the other readers
        notes.append(f"reader {point.name!r} ({point.value}) cannot be loaded: {type(error).__name__}: {error}")
    else:
        readers.append(reader)


class _Late(Reader):
    """A built-in reader that is imported when it is asked: its sniffing is the costliest and seldom needed."""

    def __init__(self, name: str, target: str, describes: str) -> None:
        self.name = name  # type: ignore[misc]
        self.describes = describes  # type: ignore[misc]
        self._target = target

    @cached_property
    def _reader(self) -> Reader:
        module, _, attribute = self._target.partition(":")
        reader = getattr(import_module(module), attribute)()
        assert isinstance(reader, Reader)
        return reader

    def sniff(self, source: Source) -> int:
        return self._reader.sniff(source)

    def read(self, source: Source) -> list[TrainingHistory]:
        return self._reader.read(source)


def rank(source: Source, readers: Iterable[Reader]) -> Iterator[Reader]:
    """The readers that recognise a file, the surest first; equally sure ones in the registry's order.

    The text reader is asked only when those before it are not surer than it ever is, or have all refused.

    Raises:
        ReadError: the file cannot be opened or decompressed.
    """
    _head(source)  # opens the file here, so that its errors are not taken for a reader's
    readers = list(readers)
    late = {k for k, r in enumerate(readers) if isinstance(r, _Late)}
    scored = [(_score(r, source), -k) for k, r in enumerate(readers) if k not in late]
    sure = sorted((pair for pair in scored if pair[0] > _LATE_AT_MOST), reverse=True)
    yield from (readers[-k] for _, k in sure)
    rest = [pair for pair in scored if 0 < pair[0] <= _LATE_AT_MOST]
    rest += [(score, -k) for k in late if (score := _score(readers[k], source)) > 0]
    yield from (readers[-k] for _, k in sorted(rest, reverse=True))


def _score(reader: Reader, source: Source) -> int:
    try:
        return reader.sniff(source)
    except Exception:  # a sniffer must not raise; one that does recognises nothing
        return 0


def read_source(source: Source, readers: Iterable[Reader] | None = None) -> list[TrainingHistory]:
    """Read one file with the reader that is surest of it.

    Raises:
        NotRecognizedError: no reader recognises it, or it is empty.
        MissingDependencyError: its format needs a package that is not installed.
        BrokenFileError: it is broken, or its reader failed on it.
        ReadError: it cannot be opened.
    """
    if not _head(source):
        raise NotRecognizedError(source.path, "empty file (0 bytes)", hint="check that the run has written to it")
    for reader in rank(source, registry().readers if readers is None else readers):
        try:
            histories = reader.read(source)
        except NotRecognizedError:
            continue
        except ReadError:
            raise
        except Exception as error:
            if type(error).__module__.partition(".")[0] in ("zlib", "zstandard", "zstd"):
                raise _damaged(source, error) from error
            raise reader_failed(source.path, reader, error) from error
        if histories:
            for history in histories:
                if history.format in ("", "memory"):
                    history.format = reader.name
            return histories
    raise _unknown(source)


def reader_failed(path: str, reader: Reader, error: Exception) -> BrokenFileError:
    """What an unexpected exception inside a reader becomes: the other files go on."""
    if isinstance(error, MemoryError):
        return BrokenFileError(path, f"the {reader.name} reader ran out of memory", hint="cut the file into parts")
    kind = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return BrokenFileError(
        path,
        f"the {reader.name} reader failed on it ({kind[:300]})",
        hint="this is a fault of the reader: please report it together with the file",
    )


def _head(source: Source) -> bytes:
    try:
        return source.head
    except ReadError:
        raise
    except Exception as error:  # zlib and zstandard raise errors of their own
        raise _damaged(source, error) from error


def _damaged(source: Source, error: Exception) -> BrokenFileError:
    return BrokenFileError(source.path, f"the compressed data is damaged ({error})", hint="copy the file again")


def _unknown(source: Source) -> NotRecognizedError:
    head = source.head
    known = ", ".join(registry().names)
    for magic, what in _MAGICS:
        if head.startswith(magic):
            problem = f"this is {what}, not a training log"
            break
    else:
        if b"\0" in head[:4096]:
            problem = "binary data that no reader recognises"
        elif len(head) >= PROBE_BYTES and b"\n" not in head and b"\r" not in head:
            problem = f"its first line alone is longer than {PROBE_BYTES >> 10} KiB, which no line of a log is"
        else:
            problem = (
                "no reader recognises this text: it is no table and no list of records, and no loss or other metric"
                " recurs in its lines under a name that lossdoctor knows"
            )
    return NotRecognizedError(source.path, problem, hint=f"formats read are {known}")
