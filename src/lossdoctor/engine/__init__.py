"""Selects and runs rules, merges what one cause explains, orders the rest, survives a crashing rule."""

from __future__ import annotations

from lossdoctor.engine.judge import assert_healthy, diagnose
from lossdoctor.engine.settings import load_settings

__all__ = ["assert_healthy", "diagnose", "load_settings"]
