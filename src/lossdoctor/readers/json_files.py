"""JSON files: Hugging Face ``trainer_state.json``, Keras history, XGBoost and LightGBM results, CatBoost, any other."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from lossdoctor.core.errors import BrokenFileError, NotRecognizedError
from lossdoctor.core.history import TrainingHistory
from lossdoctor.readers._json_kinds import NO_LOG, document_kind, read_document
from lossdoctor.readers._json_text import closed, parse_json
from lossdoctor.readers._lines import DamagedError, chunks_of, plain
from lossdoctor.readers.base import PROBE_BYTES, Reader, Source

MAX_BYTES = 1 << 28


class JsonReader(Reader):
    """One JSON document that holds curves somewhere."""

    name: ClassVar[str] = "json"
    describes: ClassVar[str] = (
        "JSON: Hugging Face trainer_state.json, Keras history, XGBoost and LightGBM evals_result,"
        " catboost_training.json, lists of rows, lists by name"
    )

    def sniff(self, source: Source) -> int:
        """Sure (90) of the documents of known tools, less (60) of any other with lists of metrics; 0 of other JSON."""
        head = plain(source.head)
        if head.lstrip()[:1] not in (b"{", b"["):
            return 0
        value = parse_json(head)
        if value is None:
            if len(source.head) < PROBE_BYTES and not _one_document(head):
                return 0
            value = parse_json(closed(head)[0])
        kind = document_kind(value, source.name)
        return 0 if kind is None else kind.sure

    def read(self, source: Source) -> list[TrainingHistory]:
        """One history; one cut off somewhere is read up to there."""
        notes: list[str] = []
        data = plain(_bounded(source, notes))
        value = parse_json(data)
        if value is None:
            mended, used = closed(data)
            value = parse_json(mended)
            if value is None or not _one_document(data):
                raise _broken(source, data, used)
            notes.append(f"the JSON is cut off or damaged at byte {used:,}; what comes before was read")
        kind = document_kind(value, source.name)
        if kind is None:
            raise NotRecognizedError(source.path, NO_LOG, hint="name a file with losses in it")
        return read_document(value, kind, source.path, notes)

    def claims(self, folder: Path, names: frozenset[str]) -> bool:  # noqa: ARG002
        """CatBoost's ``catboost_info``: its JSON holds all that its tables and event files hold."""
        return "catboost_training.json" in names

    def read_folder(self, folder: Path, shown: str) -> list[TrainingHistory]:
        """CatBoost's JSON, as the one run that the folder is."""
        file = folder / "catboost_training.json"
        found = self.read(Source.from_path(file, f"{shown}/{file.name}"))
        for history in found:
            history.path = shown
        return found


def _one_document(data: bytes) -> bool:
    """Whether the text may be one document that lacks its end: not one object after the other, line by line."""
    first, _, rest = data.lstrip().partition(b"\n")
    return not (rest.lstrip()[:1] == b"{" and isinstance(parse_json(first), Mapping))


def _bounded(source: Source, notes: list[str]) -> bytes:
    """The whole content, unless it is too much to hold."""
    chunks: list[bytes] = []
    size = 0
    with source.open() as stream:
        try:
            for chunk in chunks_of(stream, 1 << 22):
                chunks.append(chunk)
                size += len(chunk)
                if size > MAX_BYTES:
                    raise _too_big(source)
        except DamagedError as error:
            if not chunks:
                raise BrokenFileError(
                    source.path, f"the compressed data is damaged ({error})", where="byte 0", hint="copy the file again"
                ) from None
            notes.append(f"the compressed data is damaged after {size:,} bytes of content")
    return b"".join(chunks)


def _too_big(source: Source) -> BrokenFileError:
    return BrokenFileError(
        source.path,
        f"this JSON document is larger than {MAX_BYTES >> 20} MiB, which cannot be read without holding all of it",
        where=f"byte {MAX_BYTES:,}",
        hint="write one JSON object per line (JSON lines) instead",
    )


def _broken(source: Source, data: bytes, used: int) -> BrokenFileError:
    return BrokenFileError(
        source.path,
        "this is no JSON from here on",
        where=f"line {data[:used].count(10) + 1:,} (byte {used:,})",
        hint="check the file in an editor or write it again",
    )
