"""Rows as fingerprints, and whether equal ones can be chance."""

from __future__ import annotations

from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from lossdoctor.probes.data.forms import float_view
from lossdoctor.probes.data.table import Part, Table


def fingerprints(table: Table, *others: Table) -> tuple[NDArray[np.void], ...]:
    """A 16-byte hash of each example's inputs, for each table; equal inputs have equal ones.

    Where one of them holds single precision all are compared in it: a split that is stored in double precision matches.
    """
    tables = (table, *others)
    kinds = [np.result_type(*(t.parts[k].values.dtype for t in tables)) for k in range(len(table.parts))]
    least = [
        np.float32 if any(t.parts[k].values.dtype == np.float32 for t in tables) and table.parts[k].numeric else kind
        for k, kind in enumerate(kinds)
    ]
    return tuple(_hashes(t, [np.dtype(d) for d in least]) for t in tables)


def _hashes(table: Table, dtypes: list[np.dtype[np.floating]]) -> NDArray[np.void]:
    blocks = [float_view(p.flat().astype(d)) for p, d in zip(table.parts, dtypes, strict=True)]
    padded = [not p.numeric and p.places > 1 for p in table.parts]
    out = np.empty(table.examples, dtype="V16")
    for i in range(table.examples):
        held = blake2b(digest_size=16)
        for block, pad in zip(blocks, padded, strict=True):
            row = block[i]
            held.update((row[: _length(row)] if pad else row).tobytes())
        out[i] = np.void(held.digest())
    return out


def _length(row: NDArray[np.floating]) -> int:
    """The length of a row without the padding at its end, which differs from batch to batch."""
    there = np.flatnonzero(~np.isnan(row))
    return int(there[-1]) + 1 if len(there) else 0


def groups(hashes: NDArray[np.void]) -> NDArray[np.int64]:
    """The number of each example's group; equal examples share one."""
    return np.asarray(np.unique(hashes, return_inverse=True)[1].ravel(), dtype=np.int64)


def blank(table: Table) -> NDArray[np.bool_]:
    """Examples whose inputs all hold one value: empty images, rows of zeros, texts of one code."""
    out = np.ones(table.examples, dtype=bool)
    for part in table.parts:
        flat = part.flat()
        out &= np.all((flat == flat[:, :1]) | np.isnan(flat), axis=1) if flat.shape[1] > 1 else False
    return out


def chance_pairs(table: Table, pairs: float) -> float:
    """How many of so many pairs of examples would be equal if the features were independent.

    For one feature two examples agree with the probability Σ p², over its values; features that go together agree more
    often, so that this is a lower bound: where it is not far below 1, equal rows are no sign of copies.
    """
    log = np.log(max(pairs, 1e-300)) + sum(_agreement(p) for p in table.parts)
    return float(np.exp(min(log, 700.0)))


def _agreement(part: Part) -> float:
    """Logarithm of the chance that two examples agree in all features; of many features in an even draw of them."""
    flat = part.flat()
    taken = np.unique(np.linspace(0, flat.shape[1] - 1, min(200, flat.shape[1])).astype(np.int64))
    total = 0.0
    for j in taken:
        counts = np.unique(flat[:, j], return_counts=True)[1].astype(np.float64)
        n = counts.sum()
        if n > 1:
            # Values that never tie may still tie once in so many pairs as there are.
            total += float(np.log(max((counts * (counts - 1)).sum() / (n * (n - 1)), 1.0 / n**2)))
    return float(total * flat.shape[1] / len(taken))
