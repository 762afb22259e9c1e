"""Files that grow are read to what reading them anew gives, at every moment, whatever is done to them meanwhile."""

from __future__ import annotations

import os
import random
from pathlib import Path

import numpy as np
import pytest

from lossdoctor.cli.follow_files import EventGrower, Memory, following
from lossdoctor.cli.follow_text import TextGrower
from lossdoctor.core.errors import ReadError
from lossdoctor.core.history import TrainingHistory
from lossdoctor.readers.registry import registry
from lossdoctor.readers.scanning import Scan, scan
from lossdoctor.wire.encode import scalars_record
from tests.cli.support import descent

DATA = Path(__file__).parents[1] / "data"
TEXTS = [p for folder in ("text", "text_tools", "real") for p in sorted((DATA / folder).rglob("*.log"))]
TEXTS += sorted((DATA / "real").rglob("*.txt"))
TABLES = sorted(p for kind in ("csv", "jsonl") for p in (DATA / kind).rglob("*.*sv") if p.is_file())
TABLES += sorted((DATA / "jsonl").rglob("*.jsonl"))
EVENTS = sorted((DATA / "tensorboard").rglob("*tfevents*"))


class Growing:
    """A file that is written piece by piece, and followed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.memory = Memory()
        self.readers = following(registry().readers, self.memory)

    def append(self, data: bytes) -> None:
        with self.path.open("ab") as stream:
            stream.write(data)

    def look(self) -> Scan:
        return scan([str(self.path)], readers=self.readers)


def same(a: Scan, b: Scan) -> None:
    assert [str(e) for e in a.errors] == [str(e) for e in b.errors]
    assert len(a.histories) == len(b.histories)
    for one, two in zip(a.histories, b.histories, strict=True):
        _same_history(one, two)


def _same_history(a: TrainingHistory, b: TrainingHistory) -> None:
    for what in ("name", "path", "format", "step_unit", "context", "notes", "events"):
        assert getattr(a, what) == getattr(b, what), what
    assert a.roles == b.roles
    assert list(a.curves) == list(b.curves)
    for name, curve in a.curves.items():
        assert np.array_equal(curve.steps, b[name].steps), name
        assert np.array_equal(curve.values, b[name].values, equal_nan=True), name
        assert (curve.times is None) == (b[name].times is None)
        assert curve.times is None or np.array_equal(curve.times, b[name].times)  # type: ignore[arg-type]


def cuts(data: bytes, rng: random.Random, count: int = 5) -> list[int]:
    """Places after line ends, in order, the end among them; in a file without lines any places."""
    places = [i + 1 for i, c in enumerate(data) if c == 10] or list(range(1, len(data)))
    return sorted({*rng.sample(places, min(count, len(places))), len(data)})


@pytest.mark.parametrize("log", [*TEXTS, *TABLES], ids=lambda p: f"{p.parent.name}-{p.name}")
def test_lines_are_read_as_they_come(log: Path, tmp_path: Path) -> None:
    rng = random.Random(log.name)
    data = log.read_bytes()[:40_000]
    growing = Growing(tmp_path / log.name)
    written = 0
    for cut in cuts(data, rng):
        for middle in sorted(rng.sample(range(written, cut), min(2, cut - written))):  # looked at in mid-line, too
            growing.append(data[written:middle])
            written = middle
            growing.look()
        growing.append(data[written:cut])
        written = cut
        growing.memory.whole = cut == len(data)
        same(growing.look(), scan([str(growing.path)]))


@pytest.mark.parametrize("log", EVENTS, ids=lambda p: f"{p.parent.name}-{p.name[:40]}")
def test_records_are_read_as_they_come(log: Path, tmp_path: Path) -> None:
    rng = random.Random(log.name)
    data = log.read_bytes()[:200_000]
    growing = Growing(tmp_path / log.name)
    written = 0
    for cut in sorted({*(rng.randrange(1, len(data) + 1) for _ in range(8)), len(data)}):
        growing.append(data[written:cut])
        written = cut
        same(growing.look(), scan([str(growing.path)]))


def test_what_was_read_is_not_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fed: list[int] = []
    text = Growing(tmp_path / "train.log")
    events = Growing(tmp_path / "events.out.tfevents.1.x")
    monkeypatch.setattr(TextGrower, "_feed", _counting(TextGrower._feed, fed))
    for start in range(0, 400, 40):
        text.append(b"".join(b"step %d loss %.4f\n" % (i, 2 / (i + 1)) for i in range(start, start + 40)))
        events.append(b"".join(scalars_record({"loss": 2 / (i + 1)}, i, 1e9 + i) for i in range(start, start + 40)))
        assert text.look().histories[0].points == events.look().histories[0].points == start + 40
        text.look()
    assert sum(fed) == text.path.stat().st_size
    grower = events.memory._files[str(events.path)].grower
    assert isinstance(grower, EventGrower)
    assert grower._tail.offset == events.path.stat().st_size


def _counting(feed: object, fed: list[int]) -> object:
    def counted(self: TextGrower, source: object, data: bytes) -> None:
        fed.append(len(data))
        feed(self, source, data)  # type: ignore[operator]

    return counted


def test_a_line_that_is_being_written_is_left_for_later(tmp_path: Path) -> None:
    for name, head, rows in (
        ("a.log", b"", [b"step %d loss 0.25%d\n" % (i, i) for i in range(20)]),
        ("a.csv", b"step,loss\n", [b"%d,0.25%d\n" % (i, i) for i in range(20)]),
        ("a.jsonl", b"", [b'{"step": %d, "loss": 0.25%d}\n' % (i, i) for i in range(20)]),
    ):
        growing = Growing(tmp_path / name)
        growing.append(head + b"".join(rows)[:-3])
        assert growing.look().histories[0].curve("train_loss").values[-1] == 0.2518, name  # type: ignore[union-attr]
        growing.append(b"".join(rows)[-3:])
        assert growing.look().histories[0].curve("train_loss").values[-1] == 0.2519, name  # type: ignore[union-attr]


def test_a_progress_bar_is_read_before_its_line_ends(tmp_path: Path) -> None:
    growing = Growing(tmp_path / "bar.log")
    for i in range(1, 60):
        growing.append(b"\r%3d%%|###| %d/100 [00:01<00:02, 3.1it/s, loss=%.3f]" % (i, i, 2 / i))
        if i > 20:  # all but the last state, which may go on
            assert len(growing.look().histories[0].curves["loss"]) == i - 1
    growing.append(b"\n")
    same(growing.look(), scan([str(growing.path)]))


def rows(count: int, first: int = 0) -> bytes:
    return b"".join(b"step %d loss %.4f\n" % (i, v) for i, v in enumerate(descent(count), first))


def test_a_truncated_file_begins_anew(tmp_path: Path) -> None:
    growing = Growing(tmp_path / "train.log")
    growing.append(rows(100))
    growing.look()
    growing.path.write_bytes(b"")
    growing.append(rows(30))
    assert growing.look().histories[0].points == 30
    assert growing.memory.replaced == {str(growing.path)}


def test_a_file_written_over_by_a_longer_one_begins_anew(tmp_path: Path) -> None:
    growing = Growing(tmp_path / "train.log")
    growing.append(rows(30))
    growing.look()
    growing.path.write_bytes(rows(100, first=5))
    same(growing.look(), scan([str(growing.path)]))
    assert growing.memory.replaced


@pytest.mark.parametrize("name", ["train.log", "train.csv", "events.out.tfevents.1.x"])
def test_a_replaced_file_begins_anew(name: str, tmp_path: Path) -> None:
    growing = Growing(tmp_path / name)
    made = {
        "train.log": rows(40),
        "train.csv": b"step,loss\n" + b"".join(b"%d,%.3f\n" % (i, v) for i, v in enumerate(descent(40))),
        "events.out.tfevents.1.x": b"".join(scalars_record({"loss": v}, i, 1e9) for i, v in enumerate(descent(40))),
    }[name]
    growing.append(made)
    growing.look()
    other = tmp_path / "other"
    other.write_bytes(made)
    os.replace(other, growing.path)
    growing.append(made[len(made) // 2 :])
    same(growing.look(), scan([str(growing.path)]))
    assert growing.memory.replaced == {str(growing.path)}


def test_a_rotated_log_is_joined_in_its_folder(tmp_path: Path) -> None:
    growing = Growing(tmp_path / "train.log")
    growing.append(rows(100))
    scan([str(tmp_path)], readers=growing.readers)
    os.rename(growing.path, tmp_path / "train.log.1")
    growing.append(rows(50, first=100))
    (history,) = scan([str(tmp_path)], readers=growing.readers).histories
    assert history.points == 150


def test_a_file_that_goes_away_is_an_error_and_comes_back(tmp_path: Path) -> None:
    growing = Growing(tmp_path / "train.log")
    growing.append(rows(40))
    growing.look()
    growing.path.unlink()
    assert "does not exist" in str(growing.look().errors[0])
    growing.append(rows(50))
    assert growing.look().histories[0].points == 50


def test_an_error_is_remembered_with_the_file(tmp_path: Path) -> None:
    growing = Growing(tmp_path / "train.log")
    growing.append(b"hello\nthere\n")
    first, again = growing.look().errors, growing.look().errors
    assert isinstance(first[0], ReadError)
    assert str(first[0]) == str(again[0])
    growing.append(rows(40))
    assert growing.look().histories[0].points == 40


def test_joining_does_not_change_what_is_remembered(tmp_path: Path) -> None:
    for k, name in enumerate(("events.out.tfevents.1.x", "events.out.tfevents.2.x")):
        data = b"".join(scalars_record({"loss": v}, i + 100 * k, 1e9 + i + 100 * k) for i, v in enumerate(descent(100)))
        (tmp_path / name).write_bytes(data)
    readers = following(registry().readers, Memory())
    for _ in range(3):
        same(scan([str(tmp_path)], readers=readers), scan([str(tmp_path)]))


def test_utf16_and_compressed_logs_are_followed_too(tmp_path: Path) -> None:
    import gzip

    wide = Growing(tmp_path / "wide.log")
    packed = Growing(tmp_path / "train.log.gz")
    wide.append("\ufeff".encode("utf-16-le"))
    for start in (0, 50):
        wide.append(rows(50, first=start).decode().encode("utf-16-le"))
        packed.append(gzip.compress(rows(50, first=start)))
        same(wide.look(), scan([str(wide.path)]))
        same(packed.look(), scan([str(packed.path)]))
        assert wide.look().histories[0].points == packed.look().histories[0].points == start + 50
