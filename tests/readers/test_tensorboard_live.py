"""Files that the real writers write now."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

from lossdoctor.readers.base import Source
from lossdoctor.readers.tensorboard import TensorBoardReader

pytestmark = pytest.mark.slow

SCRIPT = Path(__file__).parents[1] / "data" / "make_tensorboard.py"


def maker() -> Any:
    spec = importlib.util.spec_from_file_location("make_tensorboard", SCRIPT)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("name", "package", "expected"),
    [
        ("torch", "torch", {"train/loss": 40, "train/lr": 40, "val/loss": 4}),
        ("tensorboardx", "tensorboardX", {"loss": 40, "accuracy": 40}),
    ],
)
def test_real_writers(tmp_path: Path, name: str, package: str, expected: dict[str, int]) -> None:
    pytest.importorskip(package)
    maker().main(tmp_path, [name])
    path = min((tmp_path / name).iterdir())
    (history,) = TensorBoardReader().read(Source.from_path(path))
    assert {n: len(c) for n, c in history.curves.items()} == expected
    assert history.notes == []
