"""The cost of judging a live run: verdicts on four curves at 100 to a million points, the share of time, the memory.

Times are of the judging thread (CPU), so that busy neighbours count little; of each length the quietest of three passes
counts. Between two verdicts some rows come in, as in a run.
"""

from __future__ import annotations

import sys
import time

import numpy as np

from lossdoctor.live.judging.judge import LiveJudge
from lossdoctor.live.rows import Row

LENGTHS = (100, 300, 1_000, 2_500, 5_000, 10_000, 100_000, 1_000_000)
VERDICTS = 150  # per length and pass
PASSES = 3
BAR_MS = 5.0  # p99 of a verdict
BAR_ADD_US = 2.0  # taking one value
BAR_SHARE = 0.001  # of the time of a run
BAR_BYTES = 16.0  # per point and curve
SHAPES = ("a healthy run", "a run that overfits", "a run that oscillates")


class Rows:
    """Training loss, gradient norm and learning rate in every row, validation two hundred times."""

    def __init__(self, points: int, shape: str) -> None:
        self.rng = np.random.default_rng(points)
        self.points, self.shape, self.every, self.at = points, shape, max(1, points // 200), 0

    def next(self, count: int) -> list[Row]:
        """As many rows more."""
        steps = np.arange(self.at, self.at + count)
        self.at += count
        share = steps / self.points
        loss = 2 * np.exp(-5 * share) + 0.3 + 0.05 * self.rng.standard_normal(count)
        if self.shape == SHAPES[2]:
            loss += 0.4 * np.sin(steps / max(3, self.points // 40))
        norms = 1 + 0.2 * self.rng.random(count)
        val = loss + 0.1 + (np.maximum(share - 0.4, 0) if self.shape == SHAPES[1] else 0.0)
        rows = []
        for k, step in enumerate(steps.tolist()):
            values = {"loss": float(loss[k]), "grad_norm": float(norms[k]), "lr": 1e-3}
            if step % self.every == 0:
                values["val_loss"] = float(val[k])
            rows.append(Row(step, values, 0.0))
        return rows


def verdicts(points: int, shape: str) -> tuple[list[float], float, LiveJudge]:
    """Seconds of each verdict from so many points on, and seconds per value taken before."""
    rows, judge = Rows(points, shape), LiveJudge()
    adding, values = 0.0, 0
    while rows.at < points:
        batch = rows.next(min(50_000, points - rows.at))
        began = time.thread_time()
        judge.extend(batch)
        adding += time.thread_time() - began
        values += sum(len(r.values) for r in batch)
    judge.verdict()
    costs = []
    for _ in range(VERDICTS):
        judge.extend(rows.next(max(6, points // 2000)))
        began = time.thread_time()
        judge.verdict()
        costs.append(time.thread_time() - began)
    return costs, adding / max(values, 1), judge


def of_a_run(seconds_a_row: float, rows: int) -> tuple[float, int]:
    """Share of a simulated run's time that its verdicts take, and how many there are; they cost what they cost here."""
    source, judge = Rows(rows, SHAPES[0]), LiveJudge()
    for k, row in enumerate(source.next(rows)):
        judge.add(row)
        if judge.due(k * seconds_a_row):
            judge.verdict()
    return judge.pace.spent / (rows * seconds_a_row), judge.pace.looks


def main() -> int:
    """Print the figures against their bars; 1 when one is missed."""
    missed = 0

    def tell(name: str, text: str, good: bool | None = None) -> None:
        nonlocal missed
        missed += good is False
        print(f"{name:<46} {text}" + ("" if good is None else "  ok" if good else "  MISSED"), flush=True)

    add_us, judge = float("inf"), None
    for points in LENGTHS:
        worst = 0.0
        for shape in SHAPES if points <= 10_000 else SHAPES[:1]:
            passes = [verdicts(points, shape) for _ in range(PASSES)]
            costs, adding, judge = min(passes, key=lambda p: float(np.quantile(p[0], 0.99)))
            middle, high = (1e3 * float(np.quantile(costs, q)) for q in (0.5, 0.99))
            worst, add_us = max(worst, high), min(add_us, 1e6 * adding)
            name = f"{points:,} points, {shape}"
            tell(name, f"p50 {middle:5.2f} ms  p99 {high:5.2f} ms  bar {BAR_MS:g} ms", high <= BAR_MS)
    assert judge is not None
    size = judge.nbytes / (judge.rows * 3.0)
    tell("taking a row", f"{add_us:.2f} us a value  bar {BAR_ADD_US:g} us", add_us <= BAR_ADD_US)
    tell("memory of double values", f"{size:.1f} bytes a point and curve  bar {BAR_BYTES:g}", size <= BAR_BYTES)
    for seconds, rows in ((0.002, 60_000), (0.05, 20_000), (1.0, 3_000)):
        share, looks = of_a_run(seconds, rows)
        name = f"{rows:,} rows, one in {1e3 * seconds:g} ms"
        tell(name, f"{100 * share:.4f} % of the time, {looks} verdicts  bar {100 * BAR_SHARE:g} %", share <= BAR_SHARE)
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main())
