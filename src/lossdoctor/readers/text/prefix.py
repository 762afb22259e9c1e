"""What a logging framework puts before the message: timestamp, host, level, source line, rank."""

from __future__ import annotations

import re

_DATE = r"\d{4}[-/.]\d{1,2}[-/.]\d{1,2}"
CLOCK = re.compile(
    rf"{_DATE}(?:[T ,_-]+\d{{1,2}}[:\-]\d{{2}}(?:[:\-]\d{{2}}(?:[.,]\d+)?)?)?"
    r"|(?:^|(?<=^[\[(]))\d{1,2}/\d{1,2}(?:/\d{2,4})?(?=[ ,T]+\d{1,2}:\d{2})"
    r"|(?<![\w.:])\d{1,4}:[0-5]\d(?::[0-5]\d)?(?:[.,]\d+)?(?![\w:]*[:\d])"
    r"|(?<!\d)\d{8}[-_ T]\d{6}(?!\d)"
    r"|\b\d{1,4} days?, "
)
STAMP = re.compile(r"(\d{4})[-/](\d{1,2})[-/](\d{1,2})[T ,_]+(\d{1,2}):(\d{2}):(\d{2}(?:[.,]\d+)?)")
_LEVEL = re.compile(
    r"(?<![\w/=])[\[(]?(?:INFO|DEBUG|WARNING|WARN|ERROR|CRITICAL|NOTICE|Info|info)[\])]?(?![\w=])[ \t:|\-\]>]*"
)
_ABSL = re.compile(r"^\s*[IWEF]\d{4,8} \d\d:\d\d:\d\d[.\d]*\s+\d+\s+[\w./-]+:\d+\]\s*")
_KALDI = re.compile(r"\s*V?LOG(?:\[\d+\])? \(\S+\.(?:cc|cu|h):\d+\) +")  # "LOG (nnet3-train:Print():nnet.cc:12) "
_PIECE = re.compile(
    r"(?:\s+|[\[(]?(?:" + CLOCK.pattern + r")(?:[ \t]*(?:[+-]\d{4}|Z|UTC|AM|PM))?[\])]?[ \t]*[:|>,-]*"
    r"|[\[(](?:[\w./-]+\.(?:py|cc|cpp):\d+(?::\w+)?|\w+:\d+)[\])][ :|-]*"
    r"|[\w./-]+\.(?:py|cc|cpp|rs|go)[:(]\d+\)?\]?[ :|-]*"
    r"|\(\w+ pid=\d+(?:, ip=[\d.]+)?\)[ :]*"
    r"|\[\d+,\d+\]<std(?:out|err)>:?"
    r"|\[?(?:[Rr]ank|RANK|default|rank)[ :_=]?\d+\]?[ :|-]*"
    r"|(?:root|__main__|__mp_main__|[A-Za-z_]\w*(?:\.\w+)+):?(?=[\s\-|:])[ \t:|\-]*"
    r"|(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)\w*,? (?=\w{3} )"
    r"|(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)\w* \d{1,2},? (?:\d{4} )?(?=\d{1,2}:\d\d)"
    r")"
)
_LOGGER = re.compile(r"[A-Za-z_][\w.]*:(?!\s*[-+.\d])")
_RANK = re.compile(r"(?:\b[Rr]ank|RANK)[\s:=_-]{0,3}(\d+)|^\[?(?:default|gpu|GPU)(\d+)\]?:|\[\d+,(\d+)\]<std")
_QUOTED = re.compile(r"(?:#|>|//) +(?=[\[(\w])")  # pasted as a comment or as a quotation
_THREAD = re.compile(r"\d+\][ :|\-]*")
_LABEL = re.compile(r"^\s*(\d{1,4}): (?=\S)")


def prefix_end(line: str) -> int:
    """Offset at which the message begins.

    >>> line = "[11/17 15:16:42] d2.utils.events INFO:  eta: 1"
    >>> line[prefix_end(line):]
    'eta: 1'
    """
    quoted = _QUOTED.match(line)
    end = quoted.end() if quoted else 0
    match = _ABSL.match(line, end) or _KALDI.match(line, end)
    if match:
        return match.end()
    level = _LEVEL.search(line, 0, 200)
    if level and not re.search(r"[=%{]|loss", line[: level.start()]):
        end = level.end()
        if "[" in line[: level.start()] and (thread := _THREAD.match(line, end)):  # "[10/21/2018 16:13:01 INFO 1397]"
            end = thread.end()
        elif level.group().endswith(":"):  # "INFO:tensorflow:loss = 1", the default of Python's logging
            name = _LOGGER.match(line, end)
            end = name.end() if name else end
    for _ in range(8):
        match = _PIECE.match(line, end)
        if not match or match.end() == end:
            break
        end = match.end()
    return end


def rank_of(line: str) -> tuple[int, int]:
    """``(rank, offset of its digits)`` where the line says which process wrote it, else ``(-1, -1)``."""
    match = _RANK.search(line, 0, 160)
    if not match:
        return -1, -1
    for group in match.groups():
        if group is not None:
            return int(group[:9]), match.start(match.lastindex or 0)
    return -1, -1
