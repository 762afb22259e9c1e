"""Which reader reads what, and how the failures are told apart."""

from __future__ import annotations

import tomllib
import tracemalloc
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
from tests.readers.fakes import FakeReader, fake

import lossdoctor.readers.registry as under_test
from lossdoctor.core.errors import BrokenFileError, MissingDependencyError, NotRecognizedError
from lossdoctor.core.history import TrainingHistory
from lossdoctor.readers.base import Reader, Source
from lossdoctor.readers.registry import BUILT_IN, GROUP, read_source, registry

PROJECT = Path(__file__).parents[2] / "pyproject.toml"


class Sure(Reader):
    """A reader as sure as it is told, which says its name in the notes."""

    describes = "tests"

    def __init__(self, name: str, score: int, *, refuses: bool = False, empty: bool = False) -> None:
        self.name = name  # type: ignore[misc]
        self.score, self.refuses, self.empty = score, refuses, empty

    def sniff(self, source: Source) -> int:  # noqa: ARG002
        if self.score < 0:
            raise RuntimeError("a sniffer must not raise")
        return self.score

    def read(self, source: Source) -> list[TrainingHistory]:
        if self.refuses:
            raise NotRecognizedError(source.path, "no")
        return [] if self.empty else [TrainingHistory(notes=[self.name])]


def _who(*readers: Reader) -> str:
    return read_source(Source("x", "x", data=b"abc"), readers)[0].notes[0]


def test_the_surest_reader_wins_and_the_earlier_of_equals() -> None:
    assert _who(Sure("a", 10), Sure("b", 90), Sure("c", 50)) == "b"
    assert _who(Sure("a", 50), Sure("b", 50)) == "a"


def test_the_next_reader_is_tried_when_the_surest_refuses_or_finds_nothing() -> None:
    assert _who(Sure("a", 10), Sure("b", 90, refuses=True)) == "a"
    assert _who(Sure("a", 10), Sure("b", 90, empty=True)) == "a"


def test_the_text_reader_is_not_asked_where_another_is_surer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = registry().readers[-1]
    assert text.name == "text"
    log = tmp_path / "train.log"
    log.write_text("".join(f"step {i} | loss {2 - i / 100}\n" for i in range(50)))
    assert read_source(Source.from_path(log))[0].format == "text"
    assert 0 < text.sniff(Source.from_path(log)) <= under_test._LATE_AT_MOST
    table = tmp_path / "log.csv"
    table.write_text("step,loss\n" + "".join(f"{i},{2 - i / 100}\n" for i in range(50)))
    monkeypatch.setattr(type(text), "sniff", lambda *_: pytest.fail("it was asked"))
    assert read_source(Source.from_path(table))[0].format == "csv"


def test_a_sniffer_that_raises_recognises_nothing() -> None:
    assert _who(Sure("a", -1), Sure("b", 5)) == "b"


def test_the_format_is_the_readers_name_unless_it_says_otherwise() -> None:
    assert read_source(Source("x", "x", data=b"abc"), [Sure("a", 1)])[0].format == "a"


def test_three_failures_are_told_apart(tmp_path: Path) -> None:
    readers = [FakeReader()]

    def failure(text: str) -> Exception:
        path = tmp_path / "log"
        path.write_text(text)
        with pytest.raises((NotRecognizedError, MissingDependencyError, BrokenFileError)) as caught:
            read_source(Source.from_path(path, "log"), readers)
        return caught.value

    unknown = failure("hello")
    assert type(unknown) is NotRecognizedError
    assert str(unknown).startswith("log: no reader recognises this text")
    missing = failure("MISSING")
    assert type(missing) is MissingDependencyError
    assert "pip install 'lossdoctor[fast]'" in str(missing)
    assert str(failure("BROKEN")) == "log: line 12: a cell holds 'x'; mend it"
    crash = failure("CRASH")
    assert type(crash) is BrokenFileError
    assert "the fake reader failed on it (ZeroDivisionError: division by zero)" in str(crash)
    assert "report it" in str(crash)


@pytest.mark.parametrize(
    ("head", "what"),
    [
        (b"\x89PNG\r\n\x1a\n", "a PNG picture"),
        (b"PK\x03\x04rest", "a ZIP archive"),
        (b"\x80\x04\x95", "a Python pickle, which lossdoctor never opens"),
        (b"%PDF-1.7", "a PDF document"),
        (bytes(range(256)), "binary data that no reader recognises"),
        (b"", "empty file (0 bytes)"),
    ],
)
def test_what_is_no_log_is_named(head: bytes, what: str) -> None:
    with pytest.raises(NotRecognizedError, match=r"^") as caught:
        read_source(Source("x", "x", data=head), [FakeReader()])
    assert what in str(caught.value)


def test_damaged_compression_is_broken_not_unknown(tmp_path: Path) -> None:
    path = tmp_path / "log.csv.gz"
    path.write_bytes(b"\x1f\x8b\x08\x00garbage that is no deflate stream")
    with pytest.raises(BrokenFileError, match="compressed data is damaged"):
        read_source(Source.from_path(path))


def test_every_built_in_reader_loads_and_is_an_entry_point() -> None:
    points = tomllib.loads(PROJECT.read_text())["project"]["entry-points"][GROUP]
    assert points == BUILT_IN
    assert [r.name for r in registry().readers][: len(BUILT_IN)] == list(BUILT_IN)
    assert registry().notes == ()


@pytest.fixture
def _fresh():
    registry.cache_clear()
    yield
    registry.cache_clear()


@pytest.mark.usefixtures("_fresh")
def test_plugins_are_added_and_bad_ones_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    plugins = [
        EntryPoint("fake", "tests.readers.fakes:FakeReader", GROUP),
        EntryPoint("gone", "no_such_module:Reader", GROUP),
        EntryPoint("odd", "pathlib:Path", GROUP),
        EntryPoint("csv", "tests.readers.fakes:FolderReader", GROUP),
    ]
    monkeypatch.setattr(under_test, "entry_points", lambda **_: plugins)
    found = registry()
    assert found.names == (*BUILT_IN, "fake")
    notes = "\n".join(found.notes)
    assert "reader 'gone' (no_such_module:Reader) cannot be loaded: ModuleNotFoundError" in notes
    assert "reader 'odd' (pathlib:Path) cannot be loaded: TypeError" in notes
    assert "'csv' (tests.readers.fakes:FolderReader) is left out: there is already a reader of that name" in notes


@pytest.mark.usefixtures("_fresh")
def test_the_built_in_readers_serve_without_package_metadata(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(under_test, "entry_points", lambda **_: [])
    assert registry().names == tuple(BUILT_IN)


def test_a_plugin_reads_through_the_public_door(tmp_path: Path) -> None:
    path = fake(tmp_path / "x.fake", {"loss": [1.0, 0.5]})
    assert read_source(Source.from_path(path), [FakeReader()])[0].points == 2


def test_a_file_of_one_endless_line_is_refused_in_bounded_memory(tmp_path: Path) -> None:
    path = tmp_path / "one_line.log"
    with path.open("wb") as file:
        for _ in range(40):
            file.write(b"x" * 1_000_000)
    tracemalloc.start()
    with pytest.raises(NotRecognizedError, match="its first line alone is longer than 64 KiB"):
        read_source(Source.from_path(path))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 16e6
