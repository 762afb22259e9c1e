"""What a row of five scalars costs, and what kill -9 takes: the monitor beside what a user would pick instead.

``python -m benchmarks.recording [--rows N] [--repeat K] [--only NAME,…]``: each writer runs in a process of its own, on
the same numbers; torch's SummaryWriter, and trackio, wandb (offline) and MLflow where they are installed. CPU time is
that of the process with all its threads and children, closing included, over the rows; the best of K runs counts.
Then each writes flat out and is killed without warning: rows that it had acknowledged and that its files do not hold
are lost.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import mmap
import os
import signal
import struct
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

BAR_CPU = 15.0  # µs a row
BAR_RATIO = 15.0  # times less than SummaryWriter

NAMES = ("loss", "accuracy", "learning_rate", "grad_norm", "epoch")


@dataclass(frozen=True)
class Writer:
    """A recorder as a training script would use it.

    Attributes:
        needs: the package it comes with.
        begin: sets up; the folder is ``folder``.
        row: writes one row; ``step`` and ``values`` are there.
        end: closes.
        count: how many rows ``folder`` holds, into ``found``.
        slower: how many times fewer rows are measured.
    """

    needs: str
    begin: str
    row: str
    end: str
    count: str
    slower: int = 1


_OURS = "found = len(lossdoctor.read(str(folder))[0]['loss'])"
WRITERS = {
    "one write() of 48 bytes": Writer(
        "struct",
        "import os, struct\npack = struct.Struct('<qddddd').pack\n"
        "file = os.open(folder / 'rows', os.O_CREAT | os.O_APPEND | os.O_WRONLY)",
        "os.write(file, pack(step, *values))",
        "os.close(file)",
        "found = (folder / 'rows').stat().st_size // 48",
    ),
    "lossdoctor, recording": Writer(
        "lossdoctor",
        "import lossdoctor, time\nfrom lossdoctor.live.recording.recorder import Recorder\n"
        "recorder = Recorder(folder, print); recorder.open(); now = time.time",
        "recorder.row(dict(zip(names, values)), step, now())",
        "recorder.close()",
        _OURS,
    ),
    "lossdoctor, whole log()": Writer(
        "lossdoctor",
        "import logging, lossdoctor\nlogging.basicConfig(level=logging.ERROR)\nmonitor = lossdoctor.Monitor(folder)",
        "monitor.log(step, **dict(zip(names, values)))",
        "monitor.finish()",
        _OURS,
    ),
    "torch SummaryWriter": Writer(
        "tensorboard",
        "from torch.utils.tensorboard import SummaryWriter\nwriter = SummaryWriter(str(folder))",
        "for name, value in zip(names, values): writer.add_scalar(name, value, step)",
        "writer.close()",
        "import lossdoctor; found = len(lossdoctor.read(str(folder))[0]['epoch'])",
        5,
    ),
    "trackio": Writer(
        "trackio",
        "import os\nos.environ['TRACKIO_DIR'] = str(folder)\nimport trackio\n"
        "trackio.init(project='p', name='r', embed=False)",
        "trackio.log(dict(zip(names, values)), step=step)",
        "trackio.finish()",
        "import sqlite3\nfile = next(folder.rglob('*.db'))\n"
        "found = sqlite3.connect(file).execute('select count(*) from metrics').fetchone()[0]",
        5,
    ),
    "wandb offline": Writer(
        "wandb",
        "import os, wandb\nos.environ['WANDB_SILENT'] = 'true'\n"
        "quiet = wandb.Settings(console='off', x_disable_stats=True)\n"
        "run = wandb.init(mode='offline', dir=str(folder), settings=quiet)",
        "run.log(dict(zip(names, values)), step=step)",
        "run.finish()",
        "import lossdoctor; found = len(lossdoctor.read(str(folder))[0]['loss'])",
        10,
    ),
    "mlflow (SQLite)": Writer(
        "mlflow",
        "import mlflow\nmlflow.set_tracking_uri(f'sqlite:///{folder}/runs.db')\n"
        "mlflow.set_experiment('e')\nmlflow.start_run()",
        "mlflow.log_metrics(dict(zip(names, values)), step=step)",
        "mlflow.end_run()",
        "import sqlite3\ndatabase = sqlite3.connect(folder / 'runs.db')\n"
        "found = database.execute(\"select count(*) from metrics where key = 'loss'\").fetchone()[0]",
        200,
    ),
}

PROLOGUE = f"""
import random, sys
from pathlib import Path
folder, rows = Path(sys.argv[1]), int(sys.argv[2])
folder.mkdir(parents=True, exist_ok=True)
names = {NAMES}
random.seed(0)
draw = random.random
table = [[2 / (1 + i) + draw(), draw(), 1e-3, draw(), float(i // 100)] for i in range(10_000)]
"""
# Imports and the first rows are not counted: they are paid once a run.
MEASURE = """
import json, resource, time
def spent():
    own, children = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime
for step in range(50):
    write(step, table[step])
cpu, wall = spent(), time.perf_counter()
for step in range(50, 50 + rows):
    write(step, table[step % 10_000])
end()
cpu, wall = spent() - cpu, time.perf_counter() - wall
size = sum(p.stat().st_size for p in folder.rglob("*") if p.is_file())
print(json.dumps({"cpu": cpu / rows * 1e6, "wall": wall / rows * 1e6, "bytes": size / (rows + 50)}))
"""
ENDLESS = """
import mmap, struct
with open(sys.argv[3], "r+b") as counter:
    done = mmap.mmap(counter.fileno(), 8)
step = 0
while True:
    write(step, table[step % 10_000])
    step += 1
    done[:] = struct.pack("<q", step)
"""


def script(writer: Writer, then: str) -> list[str]:
    """The command that sets a writer up and does something with it."""

    def indented(code: str) -> str:
        return "\n".join("    " + line for line in code.splitlines())

    code = f"{PROLOGUE}{writer.begin}\ndef write(step, values):\n{indented(writer.row)}\n"
    code += f"def end():\n{indented(writer.end)}\n{then}"
    return [sys.executable, "-c", code]


def measured(writer: Writer, rows: int, repeat: int) -> dict[str, float]:
    """The cheapest of several runs, by CPU time."""
    found = []
    for _ in range(repeat):
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            command = [*script(writer, MEASURE), str(Path(folder, "run")), str(rows)]
            done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder, timeout=600)
            if done.returncode:
                raise RuntimeError(done.stderr.strip().splitlines()[-1] if done.stderr else "it failed")
            found.append(json.loads(done.stdout.strip().splitlines()[-1]))
    return min(found, key=lambda f: f["cpu"])


def killed(writer: Writer, seconds: float) -> tuple[int, int]:
    """Rows acknowledged until the process was killed, and how many of them its files hold."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        counter = Path(folder, "counter")
        counter.write_bytes(bytes(8))
        run = Path(folder, "run")
        command = [*script(writer, ENDLESS), str(run), "0", str(counter)]
        process = subprocess.Popen(
            command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        )
        with counter.open("r+b") as stream, mmap.mmap(stream.fileno(), 8) as done:
            began = time.monotonic()
            while struct.unpack("<q", done[:])[0] == 0:
                if process.poll() is not None or time.monotonic() - began > 120:
                    raise RuntimeError("it wrote nothing")
                time.sleep(0.01)
            time.sleep(seconds)
            os.killpg(process.pid, signal.SIGKILL)  # helper processes of its own too, as a machine's end would
            process.wait()
            acknowledged = struct.unpack("<q", done[:])[0]
        code = f"import lossdoctor\nfrom pathlib import Path\nfolder = Path({str(run)!r})\n{writer.count}\nprint(found)"
        counted = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        held = int(counted.stdout) if counted.returncode == 0 else 0
        return acknowledged, min(held, acknowledged)


def main() -> int:
    """Measure, print, and say 1 where a bar is missed."""
    arguments = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    arguments.add_argument("--rows", type=int, default=40_000, help="for the quick ones; slower ones write fewer")
    arguments.add_argument("--repeat", type=int, default=3)
    arguments.add_argument("--only", default="", help="parts of names, with commas")
    options = arguments.parse_args()
    chosen = [part for part in options.only.split(",") if part]
    print(f"{'a row of five scalars':<26} {'CPU µs':>9} {'wall µs':>9} {'bytes':>7}  acknowledged, lost to kill -9")
    cpu: dict[str, float] = {}
    lost: dict[str, int] = {}
    for name, writer in WRITERS.items():
        if chosen and not any(part in name for part in chosen):
            continue
        if importlib.util.find_spec(writer.needs) is None:
            print(f"{name:<26} not installed")
            continue
        try:
            found = measured(writer, max(100, options.rows // writer.slower), options.repeat)
            acknowledged, held = killed(writer, 2.0)
        except (RuntimeError, subprocess.TimeoutExpired) as error:
            print(f"{name:<26} failed: {error}")
            lost[name] = -1
            continue
        cpu[name], lost[name] = found["cpu"], acknowledged - held
        print(
            f"{name:<26} {found['cpu']:9.1f} {found['wall']:9.1f} {found['bytes']:7.0f}"
            f"  {acknowledged:,}, {acknowledged - held:,}",
            flush=True,
        )
    return verdict(cpu, lost)


def verdict(cpu: dict[str, float], lost: dict[str, int]) -> int:
    """Ours against the bars."""
    missed = 0
    theirs = cpu.get("torch SummaryWriter")
    for name in ("lossdoctor, recording", "lossdoctor, whole log()"):
        if lost.get(name) == -1:
            missed += 1
        if name not in cpu:
            continue
        ratio = theirs / cpu[name] if theirs else None
        good = cpu[name] <= BAR_CPU and (ratio is None or ratio >= BAR_RATIO) and lost[name] == 0
        against = f"{ratio:.0f} times less than SummaryWriter (bar {BAR_RATIO:.0f})" if ratio else "no SummaryWriter"
        print(
            f"{name}: {cpu[name]:.1f} µs (bar {BAR_CPU:.0f}), {against}, {lost[name]:,} rows lost (bar 0):"
            f" {'ok' if good else 'MISSED'}"
        )
        missed += not good
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main())
