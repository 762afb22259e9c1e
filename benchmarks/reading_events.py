"""How fast, and in how much memory, TensorBoard event files are read: ours, EventAccumulator, tbparse where installed.

``python benchmarks/reading_events.py [--points N] [--repeat K] [--ours-only]``: writes the files first (to a
temporary folder), then reads each with each reader in a process of its own, and prints one table from that one run.
All CRCs are checked by ours; EventAccumulator is asked to keep every point (``size_guidance`` 0).
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

MIX = ("loss", "train/accuracy", "val/loss", "lr", "grad_norm")

# What each reader's process runs: it imports first, reads, and prints seconds, points and the peak above the imports.
PROLOGUE = """
import json, resource, sys, time
def peak():
    try:  # the parent's peak is inherited by ru_maxrss, not by VmHWM
        with open("/proc/self/status") as status:
            return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) / 1024
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
"""
EPILOGUE = """
path = sys.argv[1]
before = peak()
begun, cpu = time.perf_counter(), time.process_time()
points = read(path)
seconds, cpu = time.perf_counter() - begun, time.process_time() - cpu
print(json.dumps({"seconds": seconds, "cpu": cpu, "points": points, "mib": peak() - before}))
"""
READERS = {
    "read()": """
def read(path):
    with open(path, "rb") as stream:
        return len(stream.read()) * 0
""",
    "lossdoctor": """
from pathlib import Path
from lossdoctor.readers.base import Source
from lossdoctor.readers.tensorboard import TensorBoardReader
import crc32c, numpy
def read(path):
    (history,) = TensorBoardReader().read(Source.from_path(Path(path)))
    assert not history.notes, history.notes
    return sum(len(c) for c in history.curves.values())
""",
    "EventAccumulator": """
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
def read(path):
    events = EventAccumulator(path, size_guidance={"scalars": 0, "tensors": 0})
    events.Reload()
    tags = events.Tags()
    return sum(len(events.Scalars(t)) for t in tags["scalars"]) + sum(len(events.Tensors(t)) for t in tags["tensors"])
""",
    "tbparse": """
from tbparse import SummaryReader
def read(path):
    reader = SummaryReader(path)
    return len(reader.scalars) + len(reader.tensors)
""",
}


def write_one_tag(path: Path, points: int) -> None:
    """One tag, one float per event, as torch's SummaryWriter writes it."""
    import numpy as np

    from lossdoctor.wire import file_header, scalars_record

    values = np.random.default_rng(0).random(points, dtype=np.float32).astype(float).tolist()
    with path.open("wb") as stream:
        stream.write(file_header(1.7e9))
        stream.writelines(scalars_record({"loss": v}, i, 1.7e9 + i * 0.05) for i, v in enumerate(values))


def write_mix(path: Path, points: int) -> None:
    """Five tags, logged every step, every 10 and every 100 steps, floats and double tensors, TF1 and TF2 layouts."""
    import numpy as np

    from lossdoctor.wire import file_header, scalars_record

    rng = np.random.default_rng(1)
    every = (1, 1, 100, 10, 1)
    with path.open("wb") as stream:
        stream.write(file_header(1.7e9))
        written = step = 0
        while written < points:
            for k, (tag, gap) in enumerate(zip(MIX, every, strict=True)):
                if step % gap == 0 and written < points:
                    value = float(rng.random()) if k == 2 else float(np.float32(rng.random()))
                    stream.write(scalars_record({tag: value}, step, 1.7e9 + written * 0.05))
                    written += 1
            step += 1


def write_five_tags(path: Path, points: int) -> None:
    """Five tags in every step."""
    import numpy as np

    from lossdoctor.wire import file_header, scalars_record

    values = np.random.default_rng(2).random(points, dtype=np.float32).astype(float).tolist()
    with path.open("wb") as stream:
        stream.write(file_header(1.7e9))
        rows = (scalars_record({MIX[i % 5]: v}, i // 5, 1.7e9 + i * 0.05) for i, v in enumerate(values))
        stream.writelines(rows)


FILES: dict[str, Callable[[Path, int], None]] = {
    "one tag": write_one_tag,
    "five tags, each step": write_five_tags,
    "five tags, now and then": write_mix,
}


def measure(reader: str, path: Path) -> dict[str, float]:
    """One reading in a fresh process."""
    code = PROLOGUE + READERS[reader] + EPILOGUE
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{reader} failed on {path.name}: {done.stderr.strip().splitlines()[-1:]}")
    found: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def main() -> None:
    """Write, read, print."""
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    arguments.add_argument("--points", type=int, default=1_000_000)
    arguments.add_argument("--repeat", type=int, default=3, help="readings by the quick readers; the best one counts")
    arguments.add_argument("--ours-only", action="store_true", help="leave the slow readers out")
    options = arguments.parse_args()
    readers = ["read()", "lossdoctor"]
    if not options.ours_only:
        readers += [r for r in ("EventAccumulator", "tbparse") if importlib.util.find_spec(_package(r))]
    heads = f"{'file':<24} {'MB':>6} {'reader':<17} {'seconds':>8} {'CPU s':>8} {'points':>10}"
    heads += f" {'peak MiB':>8} {'x ours':>7}"
    print(heads + "  (by CPU time)")
    with tempfile.TemporaryDirectory() as folder:
        for name, write in FILES.items():
            path = Path(folder) / f"events.out.tfevents.{len(name)}"
            write(path, options.points)
            size = path.stat().st_size / 1e6
            ours = 0.0
            for reader in readers:
                quick = reader in ("read()", "lossdoctor")
                runs = [measure(reader, path) for _ in range(options.repeat if quick else 1)]
                best = min(runs, key=lambda r: r["cpu"])
                ours = best["cpu"] if reader == "lossdoctor" else ours
                ratio = f"{best['cpu'] / ours:7.1f}" if ours else "      -"
                print(
                    f"{name:<24} {size:6.1f} {reader:<17} {best['seconds']:8.3f} {best['cpu']:8.3f}"
                    f" {int(best['points']):>10,} {best['mib']:8.1f} {ratio}",
                    flush=True,
                )
            path.unlink()


def _package(reader: str) -> str:
    return {"EventAccumulator": "tensorboard", "tbparse": "tbparse"}[reader]


if __name__ == "__main__":
    main()
