"""The whole clinic: ``python -m benchmarks.clinic [--small] [--workers N]`` trains what is not cached, then reports.

All parts of the corpus, all remedies of every sick run, then ``docs/quality.md``. It may be stopped and started
again at any time. ``--small`` takes a few runs of the three quickest tasks and finishes in minutes; its report is for
a look only and goes to ``benchmarks/.cache``.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.clinic import corpus

ROOT = Path(__file__).parents[2]


def together(commands: list[list[str]]) -> None:
    """Run modules side by side, one thread each; raises SystemExit when one fails."""
    single = {**os.environ, "OMP_NUM_THREADS": "1"}
    running = [subprocess.Popen([sys.executable, "-m", *c], cwd=ROOT, env=single) for c in commands]
    failed = [c for c, p in zip(commands, running, strict=True) if p.wait() != 0]
    if failed:
        sys.exit(f"failed: {'; '.join(' '.join(c) for c in failed)}")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.clinic", description=__doc__)
    parser.add_argument("--small", action="store_true", help="a few runs of the three quickest tasks")
    parser.add_argument("--workers", type=int, default=2, help="processes side by side")
    options = parser.parse_args(arguments)
    started = time.time()
    report = ["benchmarks.quality"]
    if options.small:
        from benchmarks.clinic import small

        small.train()
        report += ["--part", "small", "--output", str(corpus.CACHE.parent / "quality_small.md")]
    else:
        parts = [["--part", str(first)] for first in corpus.SIZES]
        for k in range(0, len(parts), options.workers):
            together([["benchmarks.clinic.corpus", *part] for part in parts[k : k + options.workers]])
        for part in parts:
            shards = [f"{k}/{options.workers}" for k in range(options.workers)]
            together([["benchmarks.clinic.interventions", *part, "--shard", shard] for shard in shards])
    print(f"trained in {time.time() - started:.0f} s", file=sys.stderr, flush=True)
    together([report])
    return 0


if __name__ == "__main__":
    sys.exit(main())
