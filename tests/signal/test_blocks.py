"""Blocks against a plain loop, and the merge tree against merging by hand."""

import math
import statistics

import numpy as np
import pytest

from lossdoctor.signal.base_blocks import base_rows, tree_sum
from lossdoctor.signal.blocks import BLOCK, FULL, BlockTree, merge
from lossdoctor.signal.summary import summarize


def naive_block(steps, values, start, stop):
    """One block by definition, point by point."""
    good = [(steps[i], values[i], i) for i in range(start, stop) if math.isfinite(values[i])]
    v = [x for _, x, _ in good]
    pairs, turns, changes = [], 0, 0
    for i in range(start, stop):
        if i >= 1 and math.isfinite(values[i]) and math.isfinite(values[i - 1]):
            pairs.append(values[i] - values[i - 1])
            if i >= 2 and math.isfinite(values[i - 2]):
                turns += 1
                changes += pairs[-1] * (values[i - 1] - values[i - 2]) < 0
    out = {
        "first_step": steps[start],
        "last_step": steps[stop - 1],
        "count": len(v),
        "nonfinite": stop - start - len(v),
    }
    out |= {
        "n_diff": len(pairs),
        "n_turn": turns,
        "sign_changes": changes,
        "first": values[start],
        "last": values[stop - 1],
    }
    out["sqdiff"] = math.fsum(d * d for d in pairs)
    out["diff_median"] = statistics.median(abs(d) for d in pairs) if pairs else math.nan
    if v:
        mean, median = math.fsum(v) / len(v), statistics.median(v)
        low, high = min(good, key=lambda g: (g[1], g[2])), min(good, key=lambda g: (-g[1], g[2]))
        out |= {"mean": mean, "m2": math.fsum((x - mean) ** 2 for x in v), "median": median}
        out |= {
            "mad": statistics.median(abs(x - median) for x in v),
            "min": low[1],
            "min_step": low[0],
            "min_index": low[2],
        }
        out |= {"max": high[1], "max_step": high[0], "max_index": high[2]}
    return out


def curve(n, seed=0, bad=0.05):
    rng = np.random.default_rng(seed)
    values = rng.normal(size=n).round(2) + 3 * np.exp(-np.arange(n) / 500)
    values[rng.random(n) < bad] = rng.choice([np.nan, np.inf, -np.inf])
    return np.arange(n) * 2 + 7, values


@pytest.mark.parametrize("n", [1, 2, 63, 64, 65, 500, 1000])
def test_base_blocks_equal_a_plain_loop(n):
    steps, values = curve(n, seed=n)
    blocks = summarize(steps, values).blocks
    assert len(blocks) == -(-n // BLOCK)
    for k in range(len(blocks)):
        expected = naive_block(steps.tolist(), values.tolist(), k * BLOCK, min((k + 1) * BLOCK, n))
        for name, want in expected.items():
            assert getattr(blocks, name)[k] == pytest.approx(want, rel=1e-12, abs=1e-14, nan_ok=True), name


def test_a_block_without_finite_points():
    blocks = summarize(range(70), [np.nan] * 70).blocks
    assert blocks.count.tolist() == [0, 0]
    assert blocks.nonfinite.tolist() == [64, 6]
    assert blocks.min_index.tolist() == [-1, -1]
    for name in ("mean", "m2", "min", "max", "median", "mad", "diff_median"):
        assert np.isnan(getattr(blocks, name)).all(), name
    assert blocks.sqdiff.tolist() == [0, 0]


def naive_tree(rows):
    """Merge neighbours by hand whenever there are 1,024 of them; returns level, rows and what waits for a neighbour."""
    table, waiting, level = [], [], 0
    for k in range(len(rows)):
        row, at = rows.cut(k, k + 1), 0
        while at < level:
            if waiting[at] is None:
                waiting[at] = row
                row = None
                break
            row, waiting[at] = merge(waiting[at], row), None
            at += 1
        if row is not None:
            table.append(row)
        if len(table) == FULL:
            table = [merge(table[i], table[i + 1]) for i in range(0, FULL, 2)]
            waiting.append(None)
            level += 1
    return level, table, waiting


@pytest.mark.parametrize("count", [1023, 1024, 1025, 2047, 2048, 2051, 4500])
def test_tree_keeps_to_its_bounds_and_order(count):
    steps, values = curve(count * BLOCK, seed=count)
    rows = base_rows(steps.reshape(-1, BLOCK), values.reshape(-1, BLOCK), count * BLOCK, 0, np.full(2, np.nan))
    tree = BlockTree()
    for low in range(0, count, 700):
        tree.add(rows.cut(low, min(low + 700, count)))
    blocks = tree.blocks(None)
    level, table, waiting = naive_tree(rows)
    assert blocks.level == level
    assert 512 <= len(table) < FULL
    rest = None
    for row in reversed(waiting):
        if row is not None:
            rest = row if rest is None else merge(rest, row)
    assert len(blocks) == len(table) + (rest is not None)
    for k, row in enumerate([*table, *([rest] if rest is not None else [])]):
        assert row.to_blocks(level).same(rows_of(blocks, k)), k


def rows_of(blocks, k):
    fields = {f: getattr(blocks, f)[k : k + 1] for f in blocks.__dataclass_fields__ if f != "level"}
    return type(blocks)(level=blocks.level, **fields)


def test_merged_sums_are_those_of_all_points():
    n = 70_000
    steps, values = curve(n)
    blocks = summarize(steps, values).blocks
    assert blocks.level == 1
    for k in (0, 1, 100, len(blocks) - 1):
        want = naive_block(steps.tolist(), values.tolist(), k * blocks.size, min((k + 1) * blocks.size, n))
        for name in ("count", "n_diff", "n_turn", "sign_changes", "mean", "m2", "sqdiff", "min_index", "max_index"):
            assert getattr(blocks, name)[k] == pytest.approx(want[name], rel=1e-11, abs=1e-13), name
    good = np.isfinite(values)
    assert blocks.count.sum() == good.sum()
    assert blocks.first_index.tolist()[:3] == [0, 128, 256]


def test_constant_curve_has_no_spread_at_any_level():
    blocks = summarize(range(300_001), np.full(300_001, 0.1)).blocks
    assert set(blocks.mean) == {0.1}
    assert not blocks.m2.any()
    assert not blocks.mad.any()
    assert set(blocks.median) == {0.1}


def test_std_and_noise():
    values = np.random.default_rng(1).normal(5, 2, size=6400)
    blocks = summarize(range(6400), values).blocks
    assert blocks.std[3] == pytest.approx(np.std(values[192:256], ddof=1))
    assert np.median(blocks.noise) == pytest.approx(2, rel=0.1)
    assert blocks.middle_step[0] == 31.5


def test_tree_sum_is_exact_under_powers_of_two():
    x = np.random.default_rng(0).normal(size=(5, 64))
    assert np.array_equal(tree_sum(x * 2.0**-40), tree_sum(x) * 2.0**-40)
    assert tree_sum(x) == pytest.approx(x.sum(axis=1))
