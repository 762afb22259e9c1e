"""URLs through fsspec: object storage, the Hugging Face Hub, the web. Needs the extra ``remote``."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from lossdoctor.core.errors import MissingDependencyError, ReadError
from lossdoctor.readers.base import PROBE_BYTES, Source
from lossdoctor.readers.discover import Found, Search, natural, worth_opening

# A log larger than this is downloaded by hand: one URL must not fill the memory.
MAX_BYTES = 1 << 30
_CHUNK = 1 << 22
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+(?:::[A-Za-z][A-Za-z0-9+.-]+)*://")
_PACKED = (b"\x1f\x8b", b"\x28\xb5\x2f\xfd")


def is_url(path: str) -> bool:
    """Whether a path names a protocol.

    >>> is_url("s3://bucket/run"), is_url("C:/run"), is_url("runs/a")
    (True, False, False)
    """
    return _URL.match(path) is not None


def find_remote(url: str, search: Search) -> Iterator[Found]:
    """The files of a URL: the one it names, or those of the folder it names.

    Raises:
        MissingDependencyError: fsspec or the package of the protocol is not installed.
        ReadError: it does not exist or cannot be reached.
    """
    system, path = _open(url)
    try:
        folder = not url.startswith(("http://", "https://")) and system.isdir(path)
        listing = system.find(path, detail=True) if folder else {path: system.info(path)}
    except Exception as error:
        raise _unreachable(url, error) from error
    if not folder:
        yield Found(url, url, source=RemoteSource(system, path, url, _size(listing[path])))
        return
    base = path.rstrip("/") + "/"
    for name in sorted(listing, key=natural):
        parts = tuple(p for p in name.removeprefix(base).split("/") if p)
        shown = f"{url.rstrip('/')}/{'/'.join(parts)}"
        size = _size(listing[name])
        if not parts or size == 0 or not worth_opening(parts):
            search.skip(shown)
        else:
            yield Found(shown, url, parts, source=RemoteSource(system, name, shown, size))


class RemoteSource(Source):
    """A remote file: sniffed by a range request for its first bytes, downloaded when a reader opens it."""

    def __init__(self, system: Any, path: str, shown: str, size: int | None) -> None:
        name = path.rstrip("/").rsplit("/", 1)[-1]
        for suffix in (".gz", ".zst"):
            name = name.removesuffix(suffix)
        super().__init__(shown, name)
        self._system = system
        self._remote = path
        self._size = size

    @property
    def head(self) -> bytes:
        if self._head is None and self.data is None and self._size is not None and self._size > PROBE_BYTES:
            try:
                start = bytes(self._system.cat_file(self._remote, start=0, end=PROBE_BYTES))[:PROBE_BYTES]
            except Exception as error:
                raise _unreachable(self.path, error) from error
            if not start.startswith(_PACKED):
                self._head = start
        return super().head

    def _open_raw(self) -> Any:
        if self.data is None:
            self.data = self._download()
        return super()._open_raw()

    def read_bytes(self) -> bytes:
        if self.data is None:
            self.data = self._download()
        return super().read_bytes()

    def _download(self) -> bytes:
        if self._size is not None and self._size > MAX_BYTES:
            raise _too_large(self.path, self._size)
        chunks, got = [], 0
        try:
            with self._system.open(self._remote, "rb") as stream:
                while chunk := stream.read(_CHUNK):
                    chunks.append(chunk)
                    got += len(chunk)
                    if got > MAX_BYTES:
                        raise _too_large(self.path, got)
        except ReadError:
            raise
        except Exception as error:
            raise _unreachable(self.path, error) from error
        return b"".join(chunks)


def _open(url: str) -> tuple[Any, str]:
    protocol = url.split("://", 1)[0].rsplit("::", 1)[-1]
    try:
        from fsspec.core import url_to_fs
    except ImportError:
        raise MissingDependencyError(url, f"remote ({protocol}://)", "fsspec", "remote") from None
    try:
        system, path = url_to_fs(url)
    except ImportError as error:
        package = error.name or _package_of(str(error)) or f"fsspec[{protocol}]"
        raise MissingDependencyError(url, f"remote ({protocol}://)", package, "remote") from None
    except ValueError as error:
        raise ReadError(
            url, f"the protocol {protocol!r} is not known ({error})", hint="known are s3, gs, hf, http, https"
        ) from None
    except Exception as error:
        raise _unreachable(url, error) from error
    return system, path


def _package_of(message: str) -> str:
    found = re.search(r"[Ii]nstall ['\"]?([A-Za-z0-9_-]+)", message)
    return found.group(1) if found else ""


def _size(info: Any) -> int | None:
    size = info.get("size") if isinstance(info, dict) else None
    return int(size) if isinstance(size, (int, float)) else None


def _too_large(shown: str, size: int) -> ReadError:
    limit = MAX_BYTES >> 20
    return ReadError(
        shown,
        f"is larger than the {limit:,} MiB that are read over a network ({size:,} bytes)",
        hint="download it first",
    )


def _unreachable(url: str, error: Exception) -> ReadError:
    if isinstance(error, FileNotFoundError):
        return ReadError(url, "does not exist", hint="check the spelling, and that you may list the bucket")
    kind = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return ReadError(url, f"cannot be read ({kind[:300]})", hint="check the address, the network and your credentials")
