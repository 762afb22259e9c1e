"""What holds for all tests: a crashing rule fails the test instead of being survived; those for a GPU need one."""

from __future__ import annotations

import os

import pytest

os.environ.setdefault("LOSSDOCTOR_RAISE", "1")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests marked ``gpu`` are skipped where there is none; torch is imported only when one was asked for."""
    marked = [item for item in items if item.get_closest_marker("gpu")]
    if not marked:
        return
    import torch

    if not torch.cuda.is_available():
        for item in marked:
            item.add_marker(pytest.mark.skip(reason="needs a CUDA device"))
