"""Bytes to lines: any size, any line ending, without the terminal's control sequences."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator
from typing import BinaryIO

from lossdoctor.core.errors import BrokenFileError
from lossdoctor.readers.base import Source

CHUNK = 1 << 20
MAX_LINE = 20_000
_ANSI = re.compile(r"\x1b(?:\[[0-9;?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\^_])")
_REWRITE = re.compile("[\r\x08\x0b\x0c\x85\u2028]+")
# A bar of Keras that overwrote itself, pasted without its carriage returns: "acc: 0.098450000/50000 [===".
_GLUED_BAR = re.compile(r"(\.\d{4}(?:e[-+]\d\d)?)(\d+/\d+ \[[=>.])")
_BOMS = ((b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be"), (b"\xef\xbb\xbf", "utf-8"))


def encoding_of(head: bytes) -> tuple[str, int]:
    """The encoding and the length of its byte-order mark. PowerShell's ``>`` writes UTF-16."""
    for mark, name in _BOMS:
        if head.startswith(mark):
            return name, len(mark)
    if len(head) >= 40 and head[1:40:2].count(0) >= 18 and not any(head[0:40:2].count(c) for c in (b"\0",)):
        return "utf-16-le", 0
    return "utf-8", 0


def is_text(head: bytes) -> bool:
    """Whether the bytes are text: no NUL, few control characters, mostly decodable.

    >>> is_text(b"step 1 loss 2"), is_text(bytes(range(32)) * 9)
    (True, False)
    """
    encoding, skip = encoding_of(head)
    if encoding != "utf-8":
        text = head[skip : skip + 4096].decode(encoding, "replace")
        return text.count("\ufffd") * 20 < len(text) and sum(c.isascii() for c in text) * 2 > len(text)
    if not head or b"\0" in head:
        return False
    odd = sum(head.count(bytes([c])) for c in range(32) if c not in (7, 8, 9, 10, 11, 12, 13, 27))
    if odd * 50 > len(head):
        return False
    lost = head.decode("utf-8", "replace").count("\ufffd")
    return lost * 20 < len(head)


def read_lines(source: Source, notes: list[str]) -> Iterator[tuple[int, list[str]]]:
    """Lines in batches: ``(number of the batch's first line, lines)``.

    Carriage returns and backspaces (progress bars) also end a line, so a batch may hold more lines than newlines; the
    numbers count newlines. Lines are cut at ``MAX_LINE`` characters. A damaged compressed stream gives what could be
    read and a note.

    Raises:
        BrokenFileError: nothing can be decompressed.
    """
    encoding, skip = encoding_of(source.head)
    newline = "\n".encode(encoding)
    number = 1
    with source.open() as stream:
        stream.read(skip)
        for data in _blocks(stream, newline, source.path, notes):
            text = data.decode(encoding, "replace")
            newlines = text.count("\n")
            yield number, _clean(text)
            number += newlines


def _blocks(stream: BinaryIO, newline: bytes, path: str, notes: list[str]) -> Iterator[bytes]:
    """Blocks that end at a line's end; the inside of an overlong line is dropped, its head kept."""
    rest = b""
    started = False
    while True:
        try:
            data = stream.read(CHUNK)
        except (EOFError, OSError, ValueError, zlib.error) as error:
            if not started:
                raise BrokenFileError(
                    path, f"the compressed data is damaged ({error})", where="byte 0", hint="copy the file again"
                ) from None
            notes.append("the compressed data is cut off or damaged; read up to there")
            data = b""
        if not data:
            if rest:
                yield rest
            return
        started = True
        data = rest + data
        cut = _last_line_end(data, newline)
        if cut > 0:
            yield data[:cut]
            rest = data[cut:]
        elif len(data) > 2 * CHUNK:
            rest = data[: 8 * MAX_LINE]  # nobody logs a megabyte in one line; what follows is dropped up to its end
        else:
            rest = data


def _last_line_end(data: bytes, newline: bytes) -> int:
    width = len(newline)
    at = data.rfind(newline)
    while width == 2 and at > 0 and at % 2:
        at = data.rfind(newline, 0, at)
    if at >= 0:
        return at + width
    if width == 1:
        return data.rfind(b"\r") + 1
    return 0


def _clean(text: str) -> list[str]:
    if "\x1b" in text:
        text = _ANSI.sub("", text)
    if "\r\n" in text:
        text = text.replace("\r\n", "\n")
    if "#011" in text:  # a tab, as syslog and SageMaker write it
        text = text.replace("#011", "\t")
    if "\xa0" in text:
        text = text.replace("\xa0", " ")
    if any(
        c in text for c in "\r\x08\x0b\x0c\x85\u2028"
    ):  # several times faster than the expression where there is none
        text = _REWRITE.sub("\r", text)
    if "] - ETA:" in text:
        text = _GLUED_BAR.sub("\\1\r\\2", text)
    lines = text.split("\n")
    if lines and not lines[-1]:
        lines.pop()
    if max(map(len, lines), default=0) > MAX_LINE:
        lines = ["\r".join(part[:MAX_LINE] for part in line.split("\r")) for line in lines]
    return lines
