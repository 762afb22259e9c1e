"""Small logs, and the command line as a process of its own."""

from __future__ import annotations

import math
import os
import random
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Result:
    """How a call of the command line ended."""

    code: int
    out: str
    err: str


Invoke = Callable[..., Result]


def shell(arguments: Sequence[object], *, cwd: Path | None = None, data: bytes = b"", **variables: str) -> Result:
    """Run the command line as a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "lossdoctor", *map(str, arguments)],
        input=data,
        capture_output=True,
        cwd=cwd,
        env={**os.environ, **variables},
        timeout=120,
        check=False,
    )
    return Result(done.returncode, done.stdout.decode(), done.stderr.decode())


def write_csv(path: Path, rows: Sequence[Sequence[object]], header: str = "step,loss") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(header + "\n" + "".join(",".join(map(str, row)) + "\n" for row in rows))
    return path


def descent(n: int = 300, seed: int = 0) -> list[float]:
    """A healthy loss: falls from 2.5 to its floor, with a little noise."""
    rng = random.Random(seed)
    return [0.4 + 2.1 * math.exp(-i / (n / 6)) + 0.02 * rng.gauss(0, 1) for i in range(n)]
