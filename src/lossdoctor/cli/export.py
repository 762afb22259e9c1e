"""``lossdoctor export``: a run's curves as a table for other tools."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lossdoctor.cli.io import choose, remark, replacing
from lossdoctor.core.errors import UsageError

if TYPE_CHECKING:
    from lossdoctor.core.history import TrainingHistory

SUFFIXES = (".parquet", ".csv", ".jsonl")


def export(
    path: Annotated[str, typer.Argument(metavar="RUN", help="A log, or a folder with one run.")],
    output: Annotated[
        str, typer.Option("--output", "-o", metavar="FILE", help="Where to: .parquet, .csv or .jsonl decides.")
    ],
    run: Annotated[
        str | None, typer.Option(metavar="NAME|NUMBER", help="Which run, where the path holds several.")
    ] = None,
) -> None:
    """Write a run's curves as one table: a row per step, a column per metric, empty where not logged.

    NaN and infinities stay: as NaN and inf in CSV and Parquet, as "NaN" and "Infinity" in JSON lines.
    """
    from lossdoctor.cli.one_run import read_one

    suffix = choose("table suffix", Path(output).suffix or "(none)", SUFFIXES)
    history = read_one(path, run, None)
    with replacing(output) as scratch:
        {".csv": _csv, ".jsonl": _jsonl, ".parquet": _parquet}[suffix](history, scratch)
    remark(f"wrote {output}")


def _rows(history: TrainingHistory) -> Iterator[dict[str, int | float]]:
    """One dictionary per row, without what was not logged."""
    from lossdoctor.cli.table import table

    steps, columns = table(history)
    for i, step in enumerate(steps.tolist()):
        row: dict[str, int | float] = {"step": step}
        row.update((name, float(v[i])) for name, (v, logged) in columns.items() if logged[i])
        yield row


def _names(history: TrainingHistory) -> list[str]:
    return ["step", *(n for n in history.curves if n != "step")]


def _csv(history: TrainingHistory, path: Path) -> None:
    import csv

    with path.open("w", newline="", encoding="utf-8", errors="backslashreplace") as file:
        writer = csv.DictWriter(file, _names(history), restval="")
        writer.writeheader()
        writer.writerows(_rows(history))


def _jsonl(history: TrainingHistory, path: Path) -> None:
    from lossdoctor.render.jsonout import to_json

    with path.open("wb") as file:
        file.writelines(to_json(row) + b"\n" for row in _rows(history))


def _parquet(history: TrainingHistory, path: Path) -> None:
    """By Polars (the extra ``fast``), or by PyArrow where only that is installed."""
    from lossdoctor.cli.table import table

    steps, columns = table(history)
    try:
        import polars

        frame = polars.DataFrame({"step": steps})
        for name, (values, logged) in columns.items():
            column = polars.Series(name, values).zip_with(
                polars.Series(logged), polars.Series(name, [None] * len(values))
            )
            frame = frame.with_columns(column)
        frame.write_parquet(path)
    except ImportError:
        try:
            import pyarrow
            import pyarrow.parquet
        except ImportError:
            raise UsageError(
                "writing Parquet needs the package 'polars', which is not installed; "
                "run: pip install 'lossdoctor[fast]', or name a .csv or .jsonl file"
            ) from None
        arrays = {name: pyarrow.array(v, mask=~logged) for name, (v, logged) in columns.items()}
        pyarrow.parquet.write_table(pyarrow.table({"step": steps, **arrays}), path)
