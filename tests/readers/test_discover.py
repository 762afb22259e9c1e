"""Searching paths: what is read, what is skipped and counted, and what every bad path is told."""

from __future__ import annotations

import gzip
import io
import os
import socket
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.readers.fakes import READERS, FakeReader, fake, falling

from lossdoctor.core.errors import BrokenFileError, NotRecognizedError, ReadError, UsageError
from lossdoctor.readers import Scan, read, scan

CSV = "step,loss\n" + "\n".join(f"{i},{v}" for i, v in enumerate(falling(20))) + "\n"


def look(*paths: Any, **options: Any) -> Scan:
    return scan([*paths], readers=READERS, **options)


def only_error(path: Any) -> str:
    result = look(path)
    assert not result.histories
    assert len(result.errors) == 1
    return str(result.errors[0])


# files


def test_a_file_keeps_the_path_as_the_user_gave_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    fake(tmp_path / "runs" / "a.log", {"loss": falling(10)})
    assert [h.path for h in look("runs/a.log").histories] == ["runs/a.log"]
    assert [h.path for h in look("./runs").histories] == ["./runs/a.log"]
    assert [h.path for h in look(Path("runs")).histories] == ["runs/a.log"]
    assert [h.name for h in look("runs").histories] == ["a"]


def test_gzip_and_zstandard_are_read(tmp_path: Path) -> None:
    import zstandard

    (tmp_path / "log.csv.gz").write_bytes(gzip.compress(CSV.encode()))
    (tmp_path / "log.csv.zst").write_bytes(zstandard.ZstdCompressor().compress(CSV.encode()))
    for name in ("log.csv.gz", "log.csv.zst"):
        (history,) = read(tmp_path / name)
        assert (history.points, history.format) == (20, "csv")


def test_read_raises_what_scan_collects(tmp_path: Path) -> None:
    (tmp_path / "bad").write_text("BROKEN")
    with pytest.raises(ReadError, match="does not exist"):
        read(tmp_path / "nothing.csv")
    with pytest.raises(NotRecognizedError):
        read(tmp_path / "bad")


def test_one_bad_file_stops_nothing(tmp_path: Path) -> None:
    fake(tmp_path / "a.log", {"loss": falling(10)})
    (tmp_path / "b.log").write_text("BROKEN")
    (tmp_path / "c.log").write_text("CRASH")
    (tmp_path / "d.log").write_text("hello")
    fake(tmp_path / "e.log", {"loss": falling(12, start=3.0)})
    result = look(tmp_path)
    assert [h.name for h in result.histories] == ["a", "e"]
    assert [type(e) for e in result.errors] == [BrokenFileError, BrokenFileError]
    assert [os.path.basename(e.path) for e in result.errors] == ["b.log", "c.log"]
    assert result.skipped == 1
    assert result.skipped_examples == [str(tmp_path / "d.log")]


# bad paths: the wording is part of the interface


def test_missing_paths_say_what_is_missing(tmp_path: Path) -> None:
    assert only_error(tmp_path / "log.csv") == f"{tmp_path}/log.csv: does not exist; check the spelling"
    deep = tmp_path / "no" / "such" / "log.csv"
    assert only_error(deep) == f"{deep}: does not exist: there is no folder {tmp_path}/no; check the spelling"
    (tmp_path / "file").write_text("x")
    below = tmp_path / "file" / "log.csv"
    assert only_error(below) == f"{below}: does not exist: there is no folder {tmp_path}/file; check the spelling"


def test_empty_and_unknown_files_are_told(tmp_path: Path) -> None:
    (tmp_path / "empty.csv").touch()
    assert only_error(tmp_path / "empty.csv").endswith("empty file (0 bytes); check that the run has written to it")
    (tmp_path / "poem.txt").write_text("no numbers here")
    assert "no reader recognises this text" in only_error(tmp_path / "poem.txt")


def test_odd_paths_are_refused_politely(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert "is a named pipe, not a file; pipe its content into standard input" in only_error(tmp_path / "pipe")
    assert "is a device, not a file" in only_error("/dev/null")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    assert only_error(tmp_path / "loop").endswith("is a symbolic link that leads to itself; name the real path")
    (tmp_path / "dangling").symlink_to("nowhere")
    assert "is a symbolic link to nowhere, which does not exist" in only_error(tmp_path / "dangling")
    assert "cannot be looked at" in only_error("a\0b")
    assert "the path is empty" in only_error("")


def test_a_socket_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as plug:
        plug.bind("plug")
        assert "is a socket, not a file" in only_error("plug")


def test_unreadable_files_and_folders_are_errors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake(tmp_path / "secret.log", {"loss": falling(10)})
    fake(tmp_path / "open.log", {"loss": falling(10, start=3.0)})
    real = Path.open

    def refuse(self: Path, *args: Any, **kwargs: Any) -> Any:
        if self.name == "secret.log":
            raise PermissionError(13, "Permission denied")
        return real(self, *args, **kwargs)

    monkeypatch.setattr(Path, "open", refuse)  # the tests may run as root, whom no permission stops
    result = look(tmp_path)
    assert [h.name for h in result.histories] == ["open"]
    assert str(result.errors[0]) == (
        f"{tmp_path}/secret.log: cannot be opened (Permission denied); check the path and its permissions"
    )


def test_a_folder_that_cannot_be_listed_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake(tmp_path / "a" / "x.log", {"loss": falling(10)})
    (tmp_path / "b").mkdir()
    real = os.scandir

    def refuse(path: Any) -> Any:
        if str(path).endswith("/b"):
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr(os, "scandir", refuse)
    result = look(tmp_path)
    assert len(result.histories) == 1
    assert (
        str(result.errors[0])
        == f"{tmp_path}/b: this folder cannot be listed (Permission denied); check its permissions"
    )


def test_folders_without_runs_say_what_was_there(tmp_path: Path) -> None:
    assert only_error(tmp_path).startswith(f"{tmp_path}: no runs found: the folder holds no files")
    (tmp_path / "model.pt").write_bytes(b"PK\x03\x04")
    (tmp_path / "notes.txt").write_text("hello")
    (tmp_path / "empty.csv").touch()
    assert only_error(tmp_path) == (
        f"{tmp_path}: no runs found: none of its 3 files is a training log that lossdoctor knows"
        " (empty.csv, model.pt, notes.txt); name the log itself, or a folder above it"
    )


# folders


def test_hidden_and_foreign_folders_are_not_searched(tmp_path: Path) -> None:
    for folder in (".git", ".cache", "node_modules", "__pycache__", "env/lib/python3.12/site-packages"):
        fake(tmp_path / folder / "x.log", {"loss": falling(10)})
    fake(tmp_path / "venv" / "x.log", {"loss": falling(10)})
    (tmp_path / "venv" / "pyvenv.cfg").touch()
    fake(tmp_path / "run" / ".hidden.log", {"loss": falling(10)})
    fake(tmp_path / "run" / "x.log", {"loss": falling(10)})
    assert [h.name for h in look(tmp_path).histories] == ["run/x"]
    assert len(look(tmp_path / ".cache").histories) == 1  # what is named itself is searched


def test_the_order_is_natural_and_the_same_every_time(tmp_path: Path) -> None:
    for k in (10, 2, 1, 33, 4):
        fake(tmp_path / f"version_{k}" / "metrics.fake", {"loss": falling(10, start=k)})
    names = [h.name for h in look(tmp_path).histories]
    assert names == ["version_1", "version_2", "version_4", "version_10", "version_33"]


def test_links_are_followed_inside_and_not_outside(tmp_path: Path) -> None:
    outside = fake(tmp_path / "elsewhere" / "x.log", {"loss": falling(10)}).parent
    runs = tmp_path / "runs"
    fake(runs / "a" / "x.log", {"loss": falling(10)})
    (runs / "latest").symlink_to("a")
    (runs / "latest.log").symlink_to("a/x.log")
    (runs / "a" / "up").symlink_to(runs)
    (runs / "z").symlink_to(outside)
    (runs / "broken").symlink_to("nowhere")
    result = look(runs)
    assert [h.path for h in result.histories] == [f"{runs}/a/x.log"]
    assert result.notes == [
        f"{runs}: 1 links lead outside of it and were not followed ({runs}/z); name their targets to read them"
    ]
    assert [h.path for h in look(runs / "z").histories] == [f"{runs}/z/x.log"]


def test_weights_pictures_and_sources_are_counted_without_being_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a.pt", "b.png", "c.py", "d.safetensors", "e.tar.gz", "README.md"):
        (tmp_path / name).write_text("FAKE text\nloss 1 1.0\n")
    monkeypatch.setattr(Path, "open", lambda *_: pytest.fail("it was opened"))
    assert look(tmp_path).skipped == 6


def test_what_is_named_is_opened_whatever_it_is_called(tmp_path: Path) -> None:
    assert look(fake(tmp_path / "log.md", {"loss": falling(10)})).histories[0].points == 10


def test_fifos_in_a_folder_do_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    fake(tmp_path / "x.log", {"loss": falling(10)})
    assert len(look(tmp_path).histories) == 1


def test_a_claimed_folder_is_one_log(tmp_path: Path) -> None:
    fake(tmp_path / "store" / "deep" / "x.log", {"loss": falling(10)})
    (tmp_path / "store" / "CLAIM").write_text("")
    result = look(tmp_path)
    assert [(h.path, h.name, h.format) for h in result.histories] == [
        (f"{tmp_path}/store/1", "claimed-1", "claimer"),
        (f"{tmp_path}/store/2", "claimed-2", "claimer"),
    ]
    assert len(look(tmp_path / "store").histories) == 2
    (tmp_path / "store" / "CLAIM").write_text("CRASH")
    assert "the claimer reader failed on it (KeyError" in only_error(tmp_path)


def test_tables_of_other_things_are_not_taken_for_runs(tmp_path: Path) -> None:
    rows = "\n".join(f"{i},{i * 2},{i % 3}" for i in range(50))
    (tmp_path / "housing.csv").write_text("price,rooms,floor\n" + rows)
    (tmp_path / "log.csv").write_text(CSV)
    result = scan([tmp_path])
    assert [h.name for h in result.histories] == [tmp_path.name]
    assert result.skipped_examples == [str(tmp_path / "housing.csv")]


def test_names_skip_what_every_run_is_called(tmp_path: Path) -> None:
    fake(tmp_path / "a" / "metrics.csv", {"loss": falling(10)})
    fake(tmp_path / "b" / "seed1" / "trainer_state.json", {"loss": falling(11)})
    fake(tmp_path / "c" / "events.out.tfevents.1.host.2.0", {"loss": falling(12)})
    fake(tmp_path / "resnet.csv", {"loss": falling(13)})
    assert [h.name for h in look(tmp_path).histories] == ["a", "b/seed1", "c", "resnet"]


def test_names_that_collide_become_longer(tmp_path: Path) -> None:
    fake(tmp_path / "a" / "metrics.csv", {"loss": falling(10)})
    fake(tmp_path / "a" / "log.csv", {"loss": falling(10, rate=0.7)})
    assert [h.name for h in look(tmp_path).histories] == ["a/log.csv", "a/metrics.csv"]


def test_several_paths_keep_their_order_and_double_ones_are_read_once(tmp_path: Path) -> None:
    for name in "ab":
        fake(tmp_path / name, {"loss": falling(10)})
    a, b = str(tmp_path / "a"), str(tmp_path / "b")
    assert [h.path for h in look(b, a, b).histories] == [b, a]


def test_progress_names_each_file_and_ends_full(tmp_path: Path) -> None:
    for name in "abc":
        fake(tmp_path / name, {"loss": falling(10)})
    calls: list[tuple[int, int, str]] = []
    look(tmp_path, progress=lambda *call: calls.append(call))
    assert [(d, t) for d, t, _ in calls] == [(0, 3), (1, 3), (2, 3), (3, 3)]
    assert [os.path.basename(p) for _, _, p in calls] == ["a", "b", "c", "c"]


# standard input


class _Stdin:
    def __init__(self, data: bytes, *, tty: bool = False) -> None:
        self.buffer = io.BytesIO(data)
        self.buffer.isatty = lambda: tty  # type: ignore[method-assign]


def test_standard_input_is_read_and_sniffed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", _Stdin(gzip.compress(CSV.encode())))
    (history,) = read("-")
    assert (history.path, history.points, history.format) == ("-", 20, "csv")


def test_standard_input_that_is_empty_or_a_terminal_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", _Stdin(b""))
    assert only_error("-") == "-: standard input is empty; check the command before the pipe"
    monkeypatch.setattr(sys, "stdin", _Stdin(b"", tty=True))
    assert only_error("-").startswith("-: standard input is a terminal; pipe a log into it")
    monkeypatch.setattr(sys, "stdin", None)
    assert only_error("-").startswith("-: there is no standard input")


# roles and context from the caller


def test_roles_are_set_where_a_run_has_the_metric(tmp_path: Path) -> None:
    fake(tmp_path / "a", {"loss": falling(10), "odd": falling(10)})
    fake(tmp_path / "b", {"loss": falling(11, start=3.0)})
    one, two = look(tmp_path, metrics={"val_loss": "odd"}).histories
    assert one.roles.primary("val_loss") == "odd"
    assert two.notes == ["this run has no metric 'odd': its roles are the automatic ones"]


@pytest.mark.parametrize(
    ("metrics", "message"),
    [
        ({"val_loss": "nope"}, r"no run has a metric 'nope'; there are loss"),
        ({"vall_loss": "loss"}, r"unknown role 'vall_loss' in --metric; roles are train_loss, val_loss"),
        ({"val_loss": "loss", "train_loss": "loss"}, r"puts both val_loss and train_loss on 'loss'"),
    ],
)
def test_wrong_roles_are_usage_errors(tmp_path: Path, metrics: dict[str, str], message: str) -> None:
    fake(tmp_path / "a", {"loss": falling(10)})
    with pytest.raises(UsageError, match=message):
        look(tmp_path, metrics=metrics)


def test_the_context_given_goes_over_the_one_found(tmp_path: Path) -> None:
    path = fake(tmp_path / "a", {"loss": falling(10)})
    path.write_text(path.read_text() + "@classes 0 7\n")
    assert look(path).histories[0].context.classes == 7
    assert look(path, context={"classes": "10"}).histories[0].context.classes == 10
    with pytest.raises(UsageError, match="unknown context key"):
        look(path, context={"klasses": 1})


def test_a_single_path_may_be_a_string(tmp_path: Path) -> None:
    path = fake(tmp_path / "a", {"loss": falling(10)})
    assert len(scan(str(path), readers=[FakeReader()]).histories) == 1
