"""Reading clean CSV, JSON lines and JSON: ours beside the libraries people use.

    python benchmarks/reading_tables.py [--rows 1000000] [--repeat 3]

Each candidate runs in a process of its own and reads the same file; printed are the best wall time, the memory that the
process grew by at its peak in multiples of the file, and the time in multiples of the fastest library. "without polars"
is lossdoctor as installed without the extra ``fast``.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

NAMES = ("step", "loss", "val_loss", "lr", "grad_norm", "acc")


def write_files(folder: Path, rows: int) -> dict[str, Path]:
    """One file per format, with the same numbers; ``irregular`` ones have a hole, a NaN or another row now and then."""
    values = np.random.default_rng(0).random((rows, 5))
    paths = {name: folder / file for name, file in FILES.items()}
    with paths["csv"].open("w") as clean, paths["csv, irregular"].open("w") as odd:
        clean.write(",".join(NAMES) + "\n")
        odd.write(",".join(NAMES) + "\n")
        for i, row in enumerate(values.tolist()):
            cells = [str(i), *(f"{v:.10f}" for v in row)]
            clean.write(",".join(cells) + "\n")
            if i % 1000 == 7:
                cells = [*cells[:3], "n/a"]
            odd.write(",".join(cells) + "\n")
    with paths["jsonl"].open("w") as clean, paths["jsonl, irregular"].open("w") as odd:
        for i, row in enumerate(values.tolist()):
            line = json.dumps({"step": i, **{n: round(v, 10) for n, v in zip(NAMES[1:], row, strict=True)}}) + "\n"
            clean.write(line)
            odd.write(line)
            if i % 1000 == 7:
                odd.write(json.dumps({"step": i, "eval": {"loss": row[0]}, "name": "x"}) + "\n")
    tenth = values[: rows // 10].tolist()
    log = [{"epoch": i / 100, "loss": r[0], "learning_rate": r[1], "step": i} for i, r in enumerate(tenth)]
    paths["json"].write_text(json.dumps({"log_history": log}, indent=2))
    return paths


FILES = {
    "csv": "log.csv",
    "csv, irregular": "odd.csv",
    "jsonl": "log.jsonl",
    "jsonl, irregular": "odd.jsonl",
    "json": "trainer_state.json",
}


def ours(path: str, engine: str = "") -> Any:
    """lossdoctor's reader of the format, with or without Polars."""
    from lossdoctor.readers import _numbers, _template
    from lossdoctor.readers.base import Source
    from lossdoctor.readers.csv import CsvReader
    from lossdoctor.readers.json_files import JsonReader
    from lossdoctor.readers.jsonl import JsonLinesReader

    if engine:
        _numbers.fast_engine = _template.fast_engine = lambda: engine  # type: ignore[assignment]
    reader = {".csv": CsvReader, ".jsonl": JsonLinesReader, ".json": JsonReader}[Path(path).suffix]()
    return reader.read(Source.from_path(Path(path)))


def csv_module(path: str) -> Any:
    """The standard library's csv with ``float`` on every cell."""
    import csv

    with open(path, newline="") as stream:
        rows = csv.reader(stream)
        next(rows)
        return [[float(c) for c in row if c != "n/a"] for row in rows]


def by_line(path: str, loads: Callable[[bytes], Any]) -> Any:
    """Rows by a JSON parser, line by line, into columns."""
    columns: dict[str, list[float]] = {}
    with open(path, "rb") as stream:
        for line in stream:
            for name, value in loads(line).items():
                columns.setdefault(name, []).append(value)
    return columns


def _candidate(name: str, path: str) -> Any:
    import importlib

    if name.startswith("lossdoctor"):
        return ours(path, "orjson" if "without" in name else "")
    if name == "csv module":
        return csv_module(path)
    module = importlib.import_module(name)
    if path.endswith(".csv"):
        return module.read_csv(path)
    if name in ("json", "orjson"):
        return by_line(path, module.loads) if path.endswith(".jsonl") else module.loads(Path(path).read_bytes())
    return module.read_ndjson(path) if name == "polars" else module.read_json(path, lines=True)


LIBRARIES = {
    "csv": ("polars", "pandas", "csv module"),
    "csv, irregular": ("csv module",),
    "jsonl": ("polars", "orjson", "json"),
    "jsonl, irregular": ("orjson", "json"),
    "json": ("orjson", "json"),
}


def measure(name: str, path: str, repeat: int) -> None:
    """Run one candidate in this process and print its best time and its growth in bytes as JSON."""
    tiny = Path(path).with_name("tiny_" + Path(path).name)
    _candidate(name, str(tiny))  # imports
    before = _peak()
    best = float("inf")
    for _ in range(repeat):
        start = time.perf_counter()
        result = _candidate(name, path)
        best = min(best, time.perf_counter() - start)
        del result
    print(json.dumps([best, _peak() - before]))


def _peak() -> int:
    """Most bytes of memory this process ever held."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) * 1024


def main() -> None:
    """Write the files, measure every candidate, print one table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--measure", nargs=2, metavar=("NAME", "PATH"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.measure:
        measure(*given.measure, given.repeat)
        return
    with tempfile.TemporaryDirectory() as root:
        small = write_files(Path(root), 50)
        for path in small.values():
            path.rename(path.with_name("tiny_" + path.name))
        paths = write_files(Path(root), given.rows)
        for format, path in paths.items():
            size = path.stat().st_size
            print(f"\n{format}: {size / 1e6:.0f} MB, {given.rows:,} rows")
            results = {}
            for name in ("lossdoctor", "lossdoctor without polars", *LIBRARIES[format]):
                command = [sys.executable, __file__, "--repeat", str(given.repeat), "--measure", name, str(path)]
                done = subprocess.run(command, capture_output=True, text=True, check=False)
                if done.returncode:
                    print(f"  {name:28} failed: {done.stderr.strip().splitlines()[-1][:80]}")
                    continue
                results[name] = json.loads(done.stdout.splitlines()[-1])
            fastest = min(v[0] for n, v in results.items() if not n.startswith("lossdoctor"))
            for name, (seconds, grown) in results.items():
                print(
                    f"  {name:28} {seconds:7.2f} s   {seconds / fastest:6.2f}x   memory {grown / size:5.1f}x the file"
                )


if __name__ == "__main__":
    main()
