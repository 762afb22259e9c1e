"""The gallery is what its script says: each picture there and small, each command real, one of them run afresh."""

from __future__ import annotations

import importlib.util
import sys
from functools import cache
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[3]
FOLDER = ROOT / "docs" / "images" / "lab"


@cache
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("lab_gallery", FOLDER / "make.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["lab_gallery"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def test_the_page_is_fresh() -> None:
    page = (ROOT / "docs" / "lab-gallery.md").read_text("utf-8")
    assert page == script().page(), "run docs/images/lab/make.py"


def test_every_picture_is_there_and_small() -> None:
    there = {p.name: p.stat().st_size for p in FOLDER.iterdir() if p.suffix in (".png", ".gif")}
    assert set(there) == {one.file for one in script().every()}
    assert [name for name, size in there.items() if size > script().LARGEST] == []
    assert sum(there.values()) <= 1_500_000


def test_every_experiment_has_its_picture() -> None:
    from lossdoctor.lab import experiments

    shown = {one.words[2] for one in script().every()}
    assert set(experiments.names()) - shown <= {"descent"}  # any surface: shown as such


def test_a_picture_is_drawn_by_its_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = script()
    monkeypatch.setattr(module, "HERE", tmp_path)
    (one,) = (s for s in module.every() if s.file == "blind_hiker.png")
    from PIL import Image

    with Image.open(module.draw(one)) as made, Image.open(FOLDER / one.file) as kept:
        assert made.size == kept.size
