"""One door: whatever the lab computes can be drawn and saved, and what cannot is told."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from lossdoctor import lab
from lossdoctor.core.errors import UsageError
from lossdoctor.lab import landscapes
from lossdoctor.lab.result import Experiment
from lossdoctor.render.lab import draw, save
from tests.render.lab.samples import bowl, curves, experiment, plane, scene


def test_everything_of_the_lab_has_a_picture() -> None:
    torch.manual_seed(0)
    x, y = torch.randn(20, 3), torch.randn(20, 1)
    model = torch.nn.Linear(3, 1)
    things = {
        "descent": lab.descend("himmelblau", lr=0.1, starts=2, steps=5),
        "map": lab.basin_map("himmelblau", lr=0.01, steps=50, resolution=8),
        "landscape": landscapes.random_plane(model, torch.nn.functional.mse_loss, [(x, y)], points=9),
        "experiment": experiment(),
        "scene": scene(),
        "panel": curves(),
        "panels": [curves(), plane()],
        "field": bowl(),
    }
    found = {name: len(draw(thing).axes) for name, thing in things.items()}
    assert found == {
        **{"descent": 2, "map": 1, "landscape": 1, "experiment": 2},
        **{"scene": 2, "panel": 1, "panels": 2, "field": 1},
    }


@pytest.mark.parametrize(("name", "start"), [("a.png", b"\x89PNG"), ("a.gif", b"GIF8"), ("a.html", b"<!doctype html>")])
def test_the_suffix_decides(tmp_path: Path, name: str, start: bytes) -> None:
    run = lab.descend("quadratic", "sgd", lr=0.1, starts=[[0.0]], steps=4)
    assert save(run, tmp_path / name, dpi=50, frames=3, width=80).read_bytes().startswith(start)


def test_what_has_no_picture_or_no_film_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="int has no picture"):
        draw(3)
    with pytest.raises(UsageError, match=r"\.png, \.svg, \.pdf, \.gif, \.mp4, \.html"):
        save(curves(), tmp_path / "a.bmp")
    with pytest.raises(UsageError, match="no descent and no run to film"):
        save(Experiment("bare", "", "", (curves(),)), tmp_path / "a.gif")
    with pytest.raises(UsageError, match="choose another place"):
        save(curves(), tmp_path / "none" / "a.html")


def test_a_title_can_be_given_or_left_out() -> None:
    run = lab.descend("quadratic", "sgd", lr=0.1, starts=[[0.0]], steps=4)
    assert draw(run, title="")._suptitle is None  # type: ignore[attr-defined]
    assert draw(run)._suptitle.get_text() == "Quadratic: (w − 3)²"  # type: ignore[attr-defined]
    assert np.isfinite(draw(run, title="Mine", width=80, style="dark").get_figwidth())
