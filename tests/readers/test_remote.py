"""URLs: fsspec's memory file system stands for object storage."""

from __future__ import annotations

import builtins
import gzip
from collections.abc import Iterator
from typing import Any

import pytest
from tests.readers.fakes import falling

import lossdoctor.readers.remote as under_test
from lossdoctor.core.errors import MissingDependencyError, ReadError
from lossdoctor.readers import read, scan
from lossdoctor.readers.remote import is_url

CSV = "step,loss\n" + "\n".join(f"{i},{v}" for i, v in enumerate(falling(20)))


@pytest.fixture
def store() -> Iterator[Any]:
    fsspec = pytest.importorskip("fsspec")
    system = fsspec.filesystem("memory")
    yield system
    system.rm("/", recursive=True)


def test_a_remote_file_is_read_and_named_by_its_url(store: Any) -> None:
    store.pipe("/bucket/run/metrics.csv", CSV.encode())
    (history,) = read("memory://bucket/run/metrics.csv")
    assert (history.path, history.name, history.points) == ("memory://bucket/run/metrics.csv", "run", 20)


def test_a_remote_folder_is_searched(store: Any) -> None:
    for k in (2, 10):
        store.pipe(f"/bucket/run_{k}/metrics.csv", CSV.replace("0.", f"{k}.").encode())
    store.pipe("/bucket/run_2/model.pt", b"PK")
    store.pipe("/bucket/.git/log.csv", CSV.encode())
    store.pipe("/bucket/empty.csv", b"")
    store.pipe("/bucket/notes.txt", b"hello")
    result = scan(["memory://bucket"])
    assert result.errors == []
    assert [h.path for h in result.histories] == [
        "memory://bucket/run_2/metrics.csv",
        "memory://bucket/run_10/metrics.csv",
    ]
    assert result.skipped == 4


def test_remote_files_of_one_run_are_joined(store: Any) -> None:
    store.pipe("/b/v0/metrics.csv", CSV.encode())
    store.pipe(
        "/b/v0/metrics.jsonl", "\n".join(f'{{"step":{i},"loss":{v}}}' for i, v in enumerate(falling(20))).encode()
    )
    (history,) = read("memory://b")
    assert (history.path, history.name) == ("memory://b/v0", "v0")


def test_compressed_remote_files_are_read(store: Any) -> None:
    store.pipe("/b/metrics.csv.gz", gzip.compress(CSV.encode()))
    assert read("memory://b/metrics.csv.gz")[0].points == 20


def test_only_the_first_bytes_of_what_is_no_log_are_fetched(store: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    store.pipe("/b/weights", bytes(range(256)) * 4000)
    monkeypatch.setattr(under_test.RemoteSource, "_download", lambda _: pytest.fail("it was downloaded"))
    result = scan(["memory://b"])
    assert (result.skipped, len(result.errors)) == (1, 1)
    assert "no runs found: none of its 1 files" in str(result.errors[0])


@pytest.mark.parametrize("size_known", [True, False])
def test_too_large_files_are_refused_before_they_fill_memory(
    store: Any, monkeypatch: pytest.MonkeyPatch, size_known: bool
) -> None:
    store.pipe("/b/metrics.csv", CSV.encode() * 100)
    monkeypatch.setattr(under_test, "MAX_BYTES", 1000)
    if not size_known:
        monkeypatch.setattr(under_test, "_size", lambda _: None)
    with pytest.raises(ReadError, match=r"is larger than the 0 MiB that are read over a network .* download it first"):
        read("memory://b/metrics.csv")


@pytest.mark.usefixtures("store")
def test_missing_objects_and_unknown_protocols_are_told() -> None:
    with pytest.raises(ReadError, match=r"memory://b/none.csv: does not exist; check the spelling"):
        read("memory://b/none.csv")
    with pytest.raises(ReadError, match=r"nope://x/y: the protocol 'nope' is not known"):
        read("nope://x/y")


def test_a_failing_store_is_an_error_of_that_url_only(store: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    store.pipe("/b/metrics.csv", CSV.encode())

    def fail(*_: Any, **__: Any) -> Any:
        raise ConnectionError("reset by peer")

    monkeypatch.setattr(type(store), "info", fail)
    result = scan(["memory://b/metrics.csv"])
    assert str(result.errors[0]) == (
        "memory://b/metrics.csv: cannot be read (ConnectionError: reset by peer);"
        " check the address, the network and your credentials"
    )


def test_without_fsspec_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.startswith("fsspec"):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingDependencyError) as caught:
        read("s3://bucket/run")
    assert "remote (s3://)" in str(caught.value)
    assert "pip install 'lossdoctor[remote]'" in str(caught.value)


def test_a_protocol_without_its_package_names_the_package() -> None:
    pytest.importorskip("fsspec")
    try:
        import adlfs  # noqa: F401
    except ImportError:
        with pytest.raises(MissingDependencyError) as caught:
            read("abfs://container/run")
        assert caught.value.package == "adlfs"


def test_file_urls_are_local_paths(tmp_path: Any) -> None:
    (tmp_path / "a b.csv").write_text(CSV)
    (history,) = read((tmp_path / "a b.csv").as_uri())
    assert history.path == str(tmp_path / "a b.csv")


@pytest.mark.parametrize(
    ("path", "url"),
    [("s3://b/x", True), ("simplecache::s3://b/x", True), ("C:\\runs", False), ("a:b", False), ("runs//x", False)],
)
def test_what_counts_as_a_url(path: str, url: bool) -> None:
    assert is_url(path) is url
