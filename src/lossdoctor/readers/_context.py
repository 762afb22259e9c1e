"""What the files beside a log say of its configuration."""

from __future__ import annotations

from pathlib import Path

from lossdoctor.core.configuration import context_from, positive
from lossdoctor.readers._lines import text

__all__ = ["context_from", "flat_yaml", "positive"]

_MAX_YAML = 1 << 20


def flat_yaml(path: Path) -> dict[str, str]:
    """The top-level ``key: value`` lines of a YAML file, as texts; nothing when it cannot be read.

    Tools write their parameters flat, and a log is no reason to depend on a YAML parser or to trust its tags.
    """
    try:
        with path.open("rb") as stream:
            data = stream.read(_MAX_YAML)
    except OSError:
        return {}
    out = {}
    for line in text(data).splitlines():
        key, colon, value = line.partition(":")
        if colon and key and key == key.strip() and not key.startswith(("#", "-")):
            out[key] = value.strip().strip("'\"")
    return out
