"""Which line of the user's code an error comes from."""

from __future__ import annotations

import os
import sysconfig
import traceback
from pathlib import Path

_OWN = str(Path(__file__).parents[1])
_LIBRARIES = tuple({sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")})


def line_of(error: BaseException) -> str:
    """``file.py:12``: the innermost line of the traceback that is neither ours nor a library's; empty without one.

    The path is as short as it can be told from the working directory.

    >>> line_of(ValueError("never raised"))
    ''
    """
    if isinstance(error, SyntaxError) and error.filename and error.lineno:
        return f"{_short(error.filename)}:{error.lineno}"
    frames = [f for f in traceback.extract_tb(error.__traceback__) if _is_users(f.filename)]
    return f"{_short(frames[-1].filename)}:{frames[-1].lineno}" if frames else ""


def _is_users(name: str) -> bool:
    folders = (_OWN, *_LIBRARIES)
    return not name.startswith("<") and not any(name.startswith(folder + os.sep) for folder in folders)


def _short(name: str) -> str:
    try:
        inside = os.path.relpath(name)
    except ValueError:  # another drive
        return name
    return name if inside.startswith("..") else inside
