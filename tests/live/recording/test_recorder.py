"""The event file of a monitor: opened by TensorBoard, read back bit for bit, no row lost to the file system."""

from __future__ import annotations

import errno
import json
import math
import os
import resource
import shutil
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lossdoctor
from lossdoctor.core.history import TrainingHistory
from lossdoctor.live.recording import recorder as module
from lossdoctor.live.recording.recorder import Recorder, being_written
from lossdoctor.wire.decode import EventDecoder
from lossdoctor.wire.encode import EVENT_TAG, RowEncoder

Told = list[tuple[str, str, Mapping[str, Any]]]
names = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), min_size=1, max_size=40)
values = st.floats() | st.sampled_from([math.nan, math.inf, -math.inf, -0.0, 1e300, 5e-324, 2.0**53 + 1, 3.4028235e38])


def recorder(folder: Path, **options: Any) -> tuple[Recorder, Told]:
    told: Told = []
    made = Recorder(folder, lambda *what: told.append(what), **options)
    made.open()
    return made, told


def read(folder: Path) -> TrainingHistory:
    (history,) = lossdoctor.read(folder)
    return history


def write(r: Recorder, steps: range) -> None:
    for step in steps:
        r.row({"loss": step / 7}, step, 1000.0 + step)


def steps_of(folder: Path) -> list[int]:
    return sorted(read(folder)["loss"].steps.tolist())  # type: ignore[no-any-return]


@settings(deadline=None, max_examples=150)
@given(
    st.lists(
        st.tuples(st.dictionaries(names, values, min_size=1, max_size=5), st.integers(-(2**63), 2**63 - 1)),
        min_size=1,
        max_size=8,
    )
)
def test_any_names_and_numbers_come_back_bit_for_bit(rows: list[tuple[dict[str, float], int]]) -> None:
    encoder, decoder = RowEncoder(), EventDecoder()
    expected: dict[str, list[tuple[int, bytes]]] = {}
    for i, (row, step) in enumerate([*rows, *rows]):
        decoder.feed(encoder.encode(row, step, float(i)))
        for name, value in row.items():
            expected.setdefault(name, []).append((step, bits(value)))
    log = decoder.finish()
    assert log.damage == []
    found = {n: [(s, bits(v)) for s, v in zip(*map(list, x.joined()[:2]), strict=True)] for n, x in log.series.items()}
    assert found == expected


def bits(value: float) -> bytes:
    return b"nan" if math.isnan(value) else struct.pack("<d", value)


@settings(deadline=None, max_examples=40)
@given(st.dictionaries(names, values, min_size=1, max_size=4))
def test_a_folder_read_back_has_the_same_curves(row: dict[str, float]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        r, _ = recorder(Path(folder, "run"))
        for step in range(3):
            r.row(row, step, 1000.0 + step)
        r.close()
        history = read(Path(folder, "run"))
        assert {n: [bits(v) for v in c.values] for n, c in history.curves.items()} == {
            n: [bits(v)] * 3 for n, v in row.items() if n != EVENT_TAG
        }
        assert not history.notes


def test_a_tag_keeps_its_form_once_it_needed_doubles() -> None:
    encoder = RowEncoder()
    sizes = [len(encoder.encode({"lr": v}, 1, 0.0)) for v in (0.5, 0.25, 0.1, 0.5, math.nan)]
    assert sizes[0] == sizes[1] < sizes[2] == sizes[3] == sizes[4]


def test_tensorboard_opens_it(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.util.tensor_util import make_ndarray

    with lossdoctor.Monitor(tmp_path / "run", rank=0) as monitor:
        for step in range(50):
            monitor.log(step, loss=2.0**-step, precise=0.1 + step)
        monitor.event("learning_rate_changed", "halved: 0.1 → 0.05", factor=0.5)
    theirs = EventAccumulator(str(tmp_path / "run"), size_guidance={"scalars": 0, "tensors": 0})
    theirs.Reload()
    assert [(e.step, e.value) for e in theirs.Scalars("loss")] == [(i, 2.0**-i) for i in range(50)]
    assert [make_ndarray(e.tensor_proto).item() for e in theirs.Tensors("precise")] == [0.1 + i for i in range(50)]
    texts = [json.loads(make_ndarray(e.tensor_proto).item()) for e in theirs.Tensors(EVENT_TAG)]
    assert texts[0] == {"kind": "learning_rate_changed", "message": "halved: 0.1 → 0.05", "factor": 0.5}
    assert theirs.SummaryMetadata(EVENT_TAG).plugin_data.plugin_name == "text"


def test_tensorboard_hides_what_a_resumed_run_logs_again(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for steps in (range(100), range(60, 120)):
        with lossdoctor.Monitor(tmp_path / "run", rank=0) as monitor:
            for step in steps:
                monitor.log(step, loss=float(step))
    theirs = EventAccumulator(str(tmp_path / "run"), size_guidance={"scalars": 0})
    theirs.Reload()
    assert [e.step for e in theirs.Scalars("loss")] == list(range(120))


# trouble with the file system


def no_space(after: int, at_open: bool = False) -> Any:
    """A write() that says the disk is full after so many calls, until its ``full`` is False; half a record gets in."""
    real, calls = os.write, iter(range(10**9))

    def write(fd: int, data: bytes) -> int:
        if write.full and next(calls) >= after:  # type: ignore[attr-defined]
            if write.half:  # type: ignore[attr-defined]
                write.half = False  # type: ignore[attr-defined]
                return real(fd, data[: len(data) // 2])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(fd, data)

    write.full, write.half = True, not at_open  # type: ignore[attr-defined]
    return write


def test_a_full_disk_keeps_rows_in_memory_and_writes_them_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    r, told = recorder(tmp_path / "run")
    disk = no_space(after=5)
    monkeypatch.setattr(module.os, "write", disk)
    write(r, range(20))
    assert [kind for kind, *_ in told] == ["recording_failed"]
    assert r.failing
    assert steps_of(tmp_path / "run") == list(range(5)), "no half of a record is left in the file"
    disk.full = False
    write(r, range(20, 25))
    assert r.failing, "it is not tried at every row"
    r._retry_at = 0.0
    write(r, range(25, 30))
    assert [kind for kind, *_ in told] == ["recording_failed", "recording_restored"]
    assert not r.failing
    r.close()
    assert steps_of(tmp_path / "run") == list(range(30))
    assert not read(tmp_path / "run").notes


def test_attempts_become_rarer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    r, told = recorder(tmp_path / "run")
    now = [0.0]
    tried: list[float] = []
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])

    def full(*_: Any) -> int:
        tried.append(now[0])
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(module.os, "write", full)
    for step in range(3000):
        now[0] = step / 10
        r.row({"loss": 1.0}, step, 0.0)
    assert tried == pytest.approx([0, 1, 3, 7, 15, 31, 63, 123, 183, 243], abs=1)
    assert len(told) == 1


def test_at_the_bound_the_oldest_are_dropped_and_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    r, told = recorder(tmp_path / "run", most_kept=10_000)
    disk = no_space(after=0)
    monkeypatch.setattr(module.os, "write", disk)
    write(r, range(1000))
    assert r._kept_bytes <= 10_000
    disk.full = False
    r.close()
    kept = steps_of(tmp_path / "run")
    assert kept == list(range(1000 - len(kept), 1000))
    assert 50 < len(kept) < 300
    kind, message, details = told[-1]
    assert (kind, details["dropped"]) == ("recording_restored", 1000 - len(kept))
    assert "dropped" in message


def test_a_real_limit_of_a_file_starts_another_file(tmp_path: Path) -> None:
    """RLIMIT_FSIZE makes the kernel cut a write() short and refuse the next one."""
    code = f"""
import resource, sys
from lossdoctor.live.recording.recorder import Recorder
from pathlib import Path
told = []
r = Recorder(Path({str(tmp_path / "run")!r}), lambda *what: told.append(what[0])); r.open()
resource.setrlimit(resource.RLIMIT_FSIZE, (5000, resource.RLIM_INFINITY))
for step in range(300):
    r.row({{"loss": step / 7}}, step, 1000.0 + step)
    r._retry_at = 0.0
assert told[:2] == ["recording_failed", "recording_restored"], told
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
r.close()
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
    assert len(list((tmp_path / "run").iterdir())) > 1
    assert steps_of(tmp_path / "run") == list(range(300))
    assert not read(tmp_path / "run").notes
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 5000


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KiB."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(place)]
    if sys.platform != "linux" or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("mounting needs Linux and its permission")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def test_a_disk_that_is_really_full(small_disk: Path) -> None:
    filler = small_disk / "filler"
    filler.write_bytes(bytes(40_000))
    r, told = recorder(small_disk / "run")
    write(r, range(700))
    assert [kind for kind, *_ in told] == ["recording_failed"]
    assert "No space left" in told[0][1]
    held = len(steps_of(small_disk / "run"))
    assert 0 < held < 700
    assert not read(small_disk / "run").notes, "no half of a record is left"
    filler.unlink()
    r.close()
    assert [kind for kind, *_ in told] == ["recording_failed", "recording_restored"]
    assert steps_of(small_disk / "run") == list(range(700))


def test_a_vanished_folder_comes_back_with_all_that_was_in_it(tmp_path: Path) -> None:
    r, told = recorder(tmp_path / "run")
    write(r, range(50))
    shutil.rmtree(tmp_path / "run")
    r._checked = 0.0
    write(r, range(50, 60))
    assert [kind for kind, *_ in told] == ["recording_failed"]
    r._retry_at = 0.0
    write(r, range(60, 70))
    assert [kind for kind, *_ in told] == ["recording_failed", "recording_restored"]
    assert steps_of(tmp_path / "run") == list(range(70))


def test_a_folder_that_vanished_and_cannot_be_made_loses_nothing(tmp_path: Path) -> None:
    r, told = recorder(tmp_path / "deep" / "run")
    write(r, range(50))
    shutil.rmtree(tmp_path / "deep")
    (tmp_path / "deep").write_text("a file where the folder was")
    r._checked = 0.0
    for step in range(50, 80):
        r._retry_at = 0.0
        write(r, range(step, step + 1))
    assert r.failing
    (tmp_path / "deep").unlink()
    r.close()
    assert [kind for kind, *_ in told] == ["recording_failed", "recording_restored"]
    assert steps_of(tmp_path / "deep" / "run") == list(range(80))


def test_a_folder_that_is_gone_at_the_end_is_noticed_then(tmp_path: Path) -> None:
    r, told = recorder(tmp_path / "run")
    write(r, range(50))
    shutil.rmtree(tmp_path / "run")
    r.close()
    assert len(told) == 2
    assert steps_of(tmp_path / "run") == list(range(50))


def test_a_path_that_cannot_be_written_is_told_once_and_rows_wait(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    r, told = recorder(tmp_path / "file" / "run")
    write(r, range(10))
    assert [kind for kind, *_ in told] == ["recording_failed"]
    assert r.kept == 10
    (tmp_path / "file").unlink()
    r.close()
    assert r.kept == 0
    assert steps_of(tmp_path / "file" / "run") == list(range(10))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder(tmp_path: Path) -> None:
    tmp_path.chmod(0o555)
    r, told = recorder(tmp_path / "run")
    write(r, range(10))
    assert [kind for kind, *_ in told] == ["recording_failed"]
    tmp_path.chmod(0o755)
    r.close()
    assert steps_of(tmp_path / "run") == list(range(10))


def test_a_descriptor_that_a_network_file_system_gave_up_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    r, _ = recorder(tmp_path / "run")
    write(r, range(10))
    real, stale = os.write, r._fd

    def write_stale(fd: int, data: bytes) -> int:
        if fd == stale:
            raise OSError(errno.ESTALE, "stale file handle")
        return real(fd, data)

    monkeypatch.setattr(module.os, "write", write_stale)
    monkeypatch.setattr(r, "abandon", lambda: setattr(r, "_fd", None))  # so that the number is not used again
    for step in range(10, 20):
        r._retry_at = 0.0
        write(r, range(step, step + 1))
    assert not r.failing
    assert steps_of(tmp_path / "run") == list(range(20))


def test_two_recorders_of_one_folder_and_second_have_files_of_their_own(tmp_path: Path) -> None:
    first, _ = recorder(tmp_path / "run")
    second, _ = recorder(tmp_path / "run")
    assert first.path != second.path
    assert being_written([p for p in (first.path,) if p])
    first.close()
    second.close()
    assert not being_written(list((tmp_path / "run").iterdir()))
