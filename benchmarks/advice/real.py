"""Real public logs as rows to learn from: ``python -m benchmarks.advice.real FOLDER…`` writes ``real_runs.jsonl``.

A folder holds logs and an ``INDEX.tsv`` with the columns file, repo, path, truth and alarm: the verdict of somebody who
looked at the curves before lossdoctor did. What is kept of a log are its vital signs, what the rules found, and where
it is from: numbers to learn from, not the log itself. ``unclear`` ones are left out.
"""

from __future__ import annotations

import csv
import json
import math
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.advice.dataset import Row
from lossdoctor.engine.inputs import inputs_of
from lossdoctor.engine.judge import examine

FILE = Path(__file__).with_name("real_runs.jsonl")
VARIANT = "a real log"


def rows() -> Iterator[Row]:
    """The real runs; a kind of log counts as one task, so that it can be left out as a whole."""
    for line in FILE.read_text().splitlines():
        run = json.loads(line)
        yield Row(
            key=f"{run['repo']}/{run['path']}",
            task=f"real {run['kind']}",
            fault=f"real {run['truth']}" if run["alarm"] else "healthy",
            variant=VARIANT,
            inputs={**dict.fromkeys(run["zero"], 0.0), **run["inputs"]},
            findings=(),
            sick=bool(run["alarm"]),
        )


def measured(folder: Path) -> Iterator[dict[str, Any]]:
    """Each readable log of a folder with its verdict."""
    from lossdoctor.readers import scan

    with (folder / "INDEX.tsv").open() as index:
        for entry in csv.DictReader(index, delimiter="\t", quoting=csv.QUOTE_NONE):
            histories = scan([str(folder / entry["file"])]).histories
            if not histories or entry["truth"] == "unclear":
                continue
            case, findings = examine(max(histories, key=lambda h: h.points))
            known = {k: round(v, 5) for k, v in inputs_of(case, findings).items() if not math.isnan(v)}
            yield {
                "repo": entry["repo"],
                "path": entry["path"],
                "kind": entry["file"].split("/")[0],
                "truth": entry["truth"],
                "alarm": entry["alarm"] == "True",
                "zero": [k for k, v in known.items() if v == 0.0],
                "inputs": {k: v for k, v in known.items() if v != 0.0},
            }


def main(folders: Sequence[str]) -> int:
    """Measure the logs of all folders and write them down."""
    found = [run for folder in folders for run in measured(Path(folder))]
    FILE.write_text("".join(json.dumps(run) + "\n" for run in found))
    print(f"{len(found)} real runs, {sum(run['alarm'] for run in found)} of them sick", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
