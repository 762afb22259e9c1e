"""The held-out parts, frozen: a list for each gives its runs by hash, and every evaluation on them is written into
``held_out_log.tsv``. Its first lines are from before the lists were frozen, put in by hand from the reports of that
time. ``held_out.tsv`` are other runs of the tasks that everything is tuned on; ``held_out_tasks.tsv`` are other tasks.

A healthy run is listed by the hash of its configuration. Which twin a sick run is derived from rests on which twins
turn out healthy when they are trained, so a sick run is listed by the hash over all its candidates in their order.
``python -m benchmarks.clinic.frozen`` prints the hashes of the lists as they follow from the code; with ``--write`` it
writes them. The test that holds them to :data:`FROZEN` fails when they change.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.clinic import corpus
from benchmarks.clinic.config import VERSION
from lossdoctor import __version__

HERE = Path(__file__).parent
LIST = HERE / "held_out.tsv"
LOG = HERE / "held_out_log.tsv"
SHA256 = "973cf52e3760d68731d37eb5dea640d8f6582fac317ad75a64495a2bd7f374fa"
# First index of a part -> its list and the hash of that.
FROZEN = {
    corpus.HELD_OUT: (LIST, SHA256),
    corpus.OTHER_TASKS: (
        HERE / "held_out_tasks.tsv",
        "4e5290f29455b091057b58eea6a3b07bf22f9e0c28e6a97cda928ff2276234c7",
    ),
}
COLUMNS = (
    "date commit changed lossdoctor clinic table healthy false_alarms sick detected treatable first_right "
    "one_of_three harmful"
).split()


def lines(first: int = corpus.HELD_OUT) -> Iterator[str]:
    """The list of a part as it follows from the code."""
    healthy, sick = corpus.SIZES[first]
    yield "kind\tindex\tfault\thash"
    for i in range(first, first + healthy):
        yield f"healthy\t{i}\thealthy\t{corpus.healthy_config(i).key()}"
    for i in range(first, first + sick):
        drawn = [f"{s.key()} {t.key()}" for s, t in corpus.candidates(i)]
        yield f"sick\t{i}\t{corpus.fault_of(i).name}\t{hashlib.sha256(chr(10).join(drawn).encode()).hexdigest()[:16]}"


def digest(text: str) -> str:
    """The hash that the list is frozen by."""
    return hashlib.sha256(text.encode()).hexdigest()


def note(table: str, counts: Mapping[str, object], path: Path = LOG) -> None:
    """Append one evaluation; counts that were not measured stay empty."""
    commit, changed = _commit()
    known = {
        "date": datetime.now(UTC).strftime("%Y-%m-%dT%H:%MZ"),
        "commit": commit,
        "changed": changed,
        "lossdoctor": __version__,
        "clinic": VERSION,
        "table": table,
        **counts,
    }
    unknown = set(known) - set(COLUMNS)
    if unknown:
        raise ValueError(f"no column {', '.join(sorted(unknown))}; there are {', '.join(COLUMNS)}")
    if not path.exists():
        path.write_text("\t".join(COLUMNS) + "\n")
    with path.open("a") as log:
        log.write("\t".join(str(known.get(name, "")) for name in COLUMNS) + "\n")


def _commit() -> tuple[str, str]:
    """The commit that was evaluated, and whether the package had changes on top of it."""

    def git(*words: str) -> str:
        done = subprocess.run(["git", *words], cwd=HERE, capture_output=True, text=True, check=False)
        return done.stdout.strip() if done.returncode == 0 else ""

    root = git("rev-parse", "--show-toplevel")
    return git("rev-parse", "--short", "HEAD") or "unknown", "yes" if git("status", "-s", f"{root}/src") else "no"


def main(arguments: list[str]) -> int:
    for first, (path, wanted) in FROZEN.items():
        text = "\n".join(lines(first)) + "\n"
        if "--write" in arguments:
            path.write_text(text)
        print(path.name, digest(text), "as frozen" if digest(text) == wanted else "not as frozen")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
