"""Numbers in words: short, the same everywhere."""

from __future__ import annotations

import math


def short(value: float) -> str:
    """A number with four significant digits.

    >>> short(0.142049), short(12345.6), short(1e-7), short(float("nan"))
    ('0.142', '12346', '1e-07', 'nan')
    """
    if not math.isfinite(value):
        return str(value)
    if value != 0 and (abs(value) >= 1e7 or abs(value) < 1e-4):
        return f"{value:.3g}"
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def percent(share: float) -> str:
    """A share as a percentage.

    >>> percent(0.0312), percent(0.5), percent(12.0)
    ('3.1 %', '50 %', '1200 %')
    """
    if not math.isfinite(share):
        return str(share)
    value = 100 * share
    return f"{value:.1f} %" if abs(value) < 10 else f"{value:.0f} %"


def up_by(relative: float) -> str:
    """A relative rise in words.

    >>> up_by(0.38), up_by(109.3)
    ('up 38 %', '110-fold')
    """
    if relative < 5:
        return f"up {percent(relative)}"
    return f"{short(round(relative + 1) if relative < 1e15 else relative)}-fold"


def in_noise(z: float) -> str:
    """A z-score in words.

    >>> in_noise(7.759), in_noise(38650.0)
    ('7.8 standard errors', 'far beyond its noise')
    """
    return f"{z:.1f} standard errors" if abs(z) < 100 else "far beyond its noise"


def sureness(value: float, threshold: float, scale: float = 1.0) -> float:
    """A confidence from how far a statistic lies beyond its threshold: 0.5 at the threshold, towards 0.99.

    >>> sureness(3.0, 3.0), round(sureness(30.0, 3.0), 2)
    (0.5, 0.99)
    """
    if not math.isfinite(value):
        return 0.99 if value > 0 else 0.0
    return 0.5 + 0.49 * (1 - math.exp(-max(value / threshold - 1, 0.0) * scale))
