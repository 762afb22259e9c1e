"""Parquet: data frames of metrics, wide (one column per metric) or long (columns metric, value, step)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from lossdoctor.core.errors import BrokenFileError, MissingDependencyError
from lossdoctor.core.history import TrainingHistory
from lossdoctor.readers._histories import histories, is_label
from lossdoctor.readers._table import Labels, Series, Table
from lossdoctor.readers.base import Reader, Source

if TYPE_CHECKING:
    from collections.abc import Callable

_MAGIC = b"PAR1"
# Columns of one value compress to nothing: a small file may unfold to more than any memory holds.
MAX_CELLS = 500_000_000
MAX_LABELS = 50_000


class ParquetReader(Reader):
    """A Parquet file; needs Polars or PyArrow."""

    name: ClassVar[str] = "parquet"
    describes: ClassVar[str] = (
        "Parquet tables: data frames written by Polars, pandas, Ray, Spark; lossdoctor's own export"
    )

    def sniff(self, source: Source) -> int:
        """Sure (95) of the format's magic number."""
        return 95 if source.head.startswith(_MAGIC) else 0

    def read(self, source: Source) -> list[TrainingHistory]:
        """One history, or one per run where a column names the run."""
        load = _loader(source.path)
        data: Any = source.local if source.local is not None and not source.compressed else source.read_bytes()
        try:
            table, skipped = load(data)
        except _TooLarge as error:
            raise BrokenFileError(
                source.path, str(error), where="footer", hint="write fewer rows, or only the columns of metrics"
            ) from None
        except Exception as error:
            raise _broken(source.path, error) from None
        except BaseException as error:  # a panic in Polars' Rust code is no Exception
            if type(error).__name__ != "PanicException":
                raise
            raise _broken(source.path, error) from None
        notes = []
        if skipped:
            more = f" and {len(skipped) - 8} more" if len(skipped) > 8 else ""
            notes.append(f"columns without numbers were left out: {', '.join(skipped[:8])}{more}")
        if not table.columns:
            notes.insert(0, "no column holds numbers")
        return histories(table, path=source.path, format=self.name, notes=notes)


class _TooLarge(Exception):
    """More cells than fit into memory."""

    def __init__(self, rows: int, columns: int) -> None:
        super().__init__(
            f"{rows:,} rows of {columns} number columns are more than the {MAX_CELLS:,} cells that are read"
        )


def _broken(path: str, error: BaseException) -> BrokenFileError:
    reason = " ".join(str(error).split())[:200] or type(error).__name__
    return BrokenFileError(
        path, f"the Parquet data is damaged ({reason})", where="footer or pages", hint="copy or write the file again"
    )


def _loader(path: str) -> Callable[[Any], tuple[Table, list[str]]]:
    try:
        import polars  # noqa: F401

        return _with_polars
    except ImportError:
        pass
    try:
        import pyarrow.parquet  # noqa: F401

        return _with_pyarrow
    except ImportError:
        raise MissingDependencyError(path, "Parquet", "polars", "fast") from None


def _with_polars(data: Any) -> tuple[Table, list[str]]:
    import polars as pl

    schema = pl.read_parquet_schema(data)
    numbers = [n for n, t in schema.items() if t.is_numeric()]
    stamps = [n for n, t in schema.items() if isinstance(t, (pl.Datetime, pl.Date))]
    labels = [n for n, t in schema.items() if t in (pl.String, pl.Categorical) and is_label(n)]
    lazy = pl.scan_parquet(data).select([*numbers, *stamps, *labels])
    rows = int(lazy.select(pl.len()).collect().item())
    if rows * max(len(numbers), 1) > MAX_CELLS:
        raise _TooLarge(rows, len(numbers))
    frame = lazy.with_columns(pl.col(stamps).dt.epoch("us") / 1e6).collect() if stamps else lazy.collect()
    table = Table(rows)
    for name in [n for n in schema if n in numbers or n in stamps]:
        series = frame[name].cast(pl.Float64)
        at = np.flatnonzero(series.is_not_null().to_numpy()) if series.null_count() else None
        table.columns[name] = Series(at, np.asarray(series.drop_nulls().to_numpy(), dtype=np.float64))
    for name in labels:
        texts = frame[name].cast(pl.String)
        unique = texts.drop_nulls().unique(maintain_order=True).to_list()
        if len(unique) <= MAX_LABELS:
            codes = texts.replace_strict(unique, list(range(len(unique))), default=-1, return_dtype=pl.Int64)
            table.labels[name] = Labels(codes.fill_null(-1).to_numpy(), unique)
    kept = {*numbers, *stamps, *labels}
    return table, [n for n in schema if n not in kept]


def _with_pyarrow(data: Any) -> tuple[Table, list[str]]:
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    is_type = pa.types
    file = pq.ParquetFile(pa.BufferReader(data) if isinstance(data, bytes) else data)
    schema = file.schema_arrow
    numbers = [
        f.name
        for f in schema
        if is_type.is_integer(f.type) or is_type.is_floating(f.type) or is_type.is_decimal(f.type)
    ]
    stamps = [f.name for f in schema if is_type.is_timestamp(f.type) or is_type.is_date(f.type)]
    labels = [f.name for f in schema if _is_text(f.type) and is_label(f.name)]
    rows = file.metadata.num_rows
    if rows * max(len(numbers), 1) > MAX_CELLS:
        raise _TooLarge(rows, len(numbers))
    frame = file.read(columns=[*numbers, *stamps, *labels])
    table = Table(rows)
    for name in [f.name for f in schema if f.name in numbers or f.name in stamps]:
        column = frame[name]
        if name in stamps:
            column = pc.divide(
                pc.cast(pc.cast(column, pa.timestamp("us")), pa.int64()).cast(pa.float64(), safe=False), 1e6
            )
        at = np.flatnonzero(pc.is_valid(column).to_numpy()) if column.null_count else None
        values = pc.drop_null(pc.cast(column, pa.float64(), safe=False)).to_numpy()
        table.columns[name] = Series(at, np.asarray(values, dtype=np.float64))
    for name in labels:
        coded = pc.dictionary_encode(pc.cast(frame[name], pa.string())).combine_chunks()
        if isinstance(coded, pa.ChunkedArray):
            coded = coded.chunk(0)
        texts = coded.dictionary.to_pylist()
        if len(texts) <= MAX_LABELS:
            codes = pc.fill_null(coded.indices, -1).to_numpy(zero_copy_only=False).astype(np.int64)
            table.labels[name] = Labels(codes, texts)
    kept = {*numbers, *stamps, *labels}
    return table, [f.name for f in schema if f.name not in kept]


def _is_text(kind: Any) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_dictionary(kind))
