"""Start-up: importing lossdoctor, ``--version``, and ``diagnose`` on a small CSV, beside ``import numpy``.

Each figure is the least of several runs of a whole process (other work on the machine only ever adds).
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

RUNS = 9


def least(arguments: list[str], runs: int = RUNS) -> float:
    """Least wall time of a process, in seconds."""
    best = float("inf")
    for _ in range(runs):
        began = time.perf_counter()
        subprocess.run([sys.executable, *arguments], check=False, capture_output=True)
        best = min(best, time.perf_counter() - began)
    return best


def main() -> int:
    """Print the figures against their bars; 1 when one is missed."""
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder, "log.csv")
        rows = (f"{i},{2 / (i + 1):.6f},{2.1 / (i + 1):.6f}\n" for i in range(300))
        log.write_text("step,loss,val_loss\n" + "".join(rows))
        numpy = least(["-c", "import numpy"])
        figures = [
            ("python -c pass", least(["-c", "pass"]), None),
            ("import numpy", numpy, None),
            ("import lossdoctor", least(["-c", "import lossdoctor"]), 1.5 * numpy),
            ("lossdoctor.TrainingHistory", least(["-c", "import lossdoctor; lossdoctor.TrainingHistory"]), None),
            ("lossdoctor --version", least(["-m", "lossdoctor", "--version"]), 0.4),
            ("lossdoctor diagnose small.csv", least(["-m", "lossdoctor", "diagnose", str(log)]), 0.7),
            ("lossdoctor diagnose --format json", least(["-m", "lossdoctor", "diagnose", str(log), "-f", "json"]), 0.7),
            ("lossdoctor rules", least(["-m", "lossdoctor", "rules"]), None),
        ]
    missed = 0
    for name, seconds, bar in figures:
        verdict = "" if bar is None else f"  bar {bar:.3f} s  {'ok' if seconds <= bar else 'MISSED'}"
        missed += bar is not None and seconds > bar
        print(f"{name:<36} {seconds:7.3f} s{verdict}")
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main())
