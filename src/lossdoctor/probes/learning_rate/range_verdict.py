"""What a learning-rate sweep means for the run: its rate beside the suggestion, and why there may be none."""

from __future__ import annotations

from lossdoctor.probes.learning_rate.range_reading import Head, Reading, Sweep

FAR = 10.0  # from this factor on the present rate is far from the suggestion
NEAR = 3.0  # up to this factor the present rate is as good, as far as the test can tell

Verdict = tuple[str, str, dict[str, float]]  # outcome, words, likelihood ratios of causes


def confidence(reading: Reading, head_end: float) -> float:
    """How often a suggestion from such a sweep was within 5 % of the best of a grid: see benchmarks.lr_range.

    Args:
        reading: of a sweep that falls.
        head_end: the last of the rates that the start was judged by.
    """
    sure = 0.9 if reading.depth > 3 * reading.sure else 0.75
    # Where the losses fell already, neither the start nor its noise is known.
    return round(sure / 2 if head_end > reading.valley / 10 else sure, 2)


def compared(present: float, suggestion: float, reading: Reading) -> Verdict:
    """The present rate beside the suggestion."""
    edge = f"the largest stable rate in the sweep is {reading.stable:.2g}"
    found = f"A rate of {suggestion:.2g} suits this model, optimizer and batch size ({edge})."
    high, low = "learning-rate-too-high", "learning-rate-too-low"
    if not present > 0:
        return "noted", f"{found} The optimizer's present rate is {present:g}.", {}
    ratio = present / suggestion
    if present > reading.stable:
        causes = {high: 6.0, "no-warmup": 1.5, low: 0.05}
        return "failed", f"{found} The present rate of {present:.2g} is above that edge: go down to the former.", causes
    if ratio > FAR:
        causes = {high: 3.0, low: 0.1}
        return "failed", f"{found} The present rate of {present:.2g} is {ratio:.0f} times as high: lower it.", causes
    if ratio > NEAR:
        causes = {high: 1.5, low: 0.3}
        return "noted", f"{found} The present rate of {present:.2g} is {ratio:.1f} times as high: try both.", causes
    if ratio < 1 / FAR:
        causes = {low: 5.0, high: 0.1}
        words = f"{found} The present rate of {present:.2g} is {1 / ratio:.0f} times lower: raise it."
        return "failed", words, causes
    if ratio < 1 / NEAR:
        causes = {low: 2.0, high: 0.3}
        return "noted", f"{found} The present rate of {present:.2g} is {1 / ratio:.1f} times lower: try both.", causes
    causes = {low: 0.3, high: 0.4}
    return "passed", f"{found} The present rate of {present:.2g} is as good, as far as the test can tell.", causes


def nothing(coarse: Sweep, head: Head, reading: Reading | None, lowest: float, highest: float) -> str:
    """Why there is no suggestion, and what to do."""
    if reading is None:
        return (
            f"No suggestion: the loss explodes within {coarse.taken} steps, at {coarse.rates[coarse.taken - 1]:.2g},"
            f" before there is anything to compare with. Scale the inputs, or begin lower: lowest={lowest / 1e4:.0e}."
        )
    fell = (
        f"No suggestion: the smoothed loss falls by {max(reading.depth, 0.0):.3g} from {head.level:.4g}, and its noise"
        f" (± {head.noise:.2g} from batch to batch) explains {reading.sure:.2g}."
    )
    if reading.diverges is None:
        return f"{fell} It does not explode up to {highest:g} either: check that the loss depends on the weights."
    return (
        f"{fell} It explodes at {reading.diverges:.2g}, so stay below {reading.diverges / 10:.2g}; take more steps or"
        " larger batches (accumulate=4), or test overfit_one_batch. After training there may be nothing left to fall."
    )
