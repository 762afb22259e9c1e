"""Start-up: importing lossdoctor, ``--version``, and ``diagnose`` on a small CSV, beside ``import numpy``.

Each figure is the least of several runs of a whole process (other work on the machine only ever adds), with its CPU
time beside it: that is what is left when nothing else runs. Bytecode is cached, as an installed package has it.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

RUNS = 9


def least(arguments: list[str], cache: str, runs: int = RUNS) -> tuple[float, float]:
    """Least wall and CPU time of a process, in seconds."""
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    environment["PYTHONPYCACHEPREFIX"] = cache
    wall = cpu = float("inf")
    for _ in range(runs + 1):  # the first one fills the cache
        before, began = os.times(), time.perf_counter()
        subprocess.run([sys.executable, *arguments], check=False, capture_output=True, env=environment)
        wall, after = min(wall, time.perf_counter() - began), os.times()
        spent = after.children_user + after.children_system - before.children_user - before.children_system
        cpu = min(cpu, spent)
    return wall, cpu


def main() -> int:
    """Print the figures against their bars; 1 when one is missed."""
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder, "log.csv")
        rows = (f"{i},{2 / (i + 1):.6f},{2.1 / (i + 1):.6f}\n" for i in range(300))
        log.write_text("step,loss,val_loss\n" + "".join(rows))
        cache = str(Path(folder, "bytecode"))
        numpy = least(["-c", "import numpy"], cache)
        commands: list[tuple[str, list[str], float | None]] = [
            ("python -c pass", ["-c", "pass"], None),
            ("import numpy", ["-c", "import numpy"], None),
            ("import lossdoctor", ["-c", "import lossdoctor"], 1.5 * numpy[0]),
            ("lossdoctor.TrainingHistory", ["-c", "import lossdoctor; lossdoctor.TrainingHistory"], None),
            ("lossdoctor --version", ["-m", "lossdoctor", "--version"], 0.4),
            ("lossdoctor diagnose small.csv", ["-m", "lossdoctor", "diagnose", str(log)], 0.7),
            ("lossdoctor diagnose --format json", ["-m", "lossdoctor", "diagnose", str(log), "-f", "json"], 0.7),
            ("lossdoctor rules", ["-m", "lossdoctor", "rules"], None),
        ]
        figures = [(name, *least(arguments, cache), bar) for name, arguments, bar in commands]
    missed = 0
    print(f"{'':<36} {'wall':>9} {'CPU':>9}")
    for name, seconds, cpu, bar in figures:
        verdict = "" if bar is None else f"  bar {bar:.3f} s  {'ok' if seconds <= bar else 'MISSED'}"
        missed += bar is not None and seconds > bar
        print(f"{name:<36} {seconds:7.3f} s {cpu:7.3f} s{verdict}")
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main())
