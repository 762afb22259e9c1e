"""Every experiment is run once per session and looked at by several tests."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import pytest

from lossdoctor.lab.experiments import base
from lossdoctor.lab.result import Experiment

Runner = Callable[..., Experiment]


@cache
def _run(name: str, options: tuple[tuple[str, Any], ...]) -> Experiment:
    return base.run(name, **dict(options))


@pytest.fixture(scope="session")
def outcome() -> Runner:
    """``outcome(name, **options)``: the experiment's result, computed once."""
    return lambda name, **options: _run(name, tuple(sorted(options.items())))
