"""Films: the right steps in the right number of frames, only what moves changes, GIF and MP4 are as they should be."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from lossdoctor.core.errors import UsageError
from lossdoctor.render.lab import film
from lossdoctor.render.lab.film import render, save_film
from lossdoctor.render.lab.scene import run_scene
from tests.render.lab.samples import history, scene


@pytest.mark.parametrize("steps", [1, 7, 500])
def test_frames_are_bounded_even_and_hold_both_ends(steps: int) -> None:
    shown = scene(steps=steps).seen(50)
    assert len(shown) == min(50, steps + 1)
    assert (shown[0], shown[-1]) == (0, steps)
    assert np.ptp(np.diff(shown)) <= 1


@pytest.mark.parametrize("on_curve", [False, True])
def test_frames_differ_and_grow(on_curve: bool) -> None:
    told: list[tuple[int, int]] = []
    frames = list(
        render(scene(on_curve=on_curve), frames=6, dpi=50, progress=lambda done, total: told.append((done, total)))
    )
    assert told == [(i, 6) for i in range(1, 7)]
    assert len({f.tobytes() for f in frames}) == 6
    assert {f.shape for f in frames} == {frames[0].shape}
    # What is drawn only grows: between the first frame and the last more changes than between the first and the second.
    changed = [int((f != frames[0]).any(axis=2).sum()) for f in frames[1:]]
    assert changed[0] < changed[-1]
    assert changed[-1] < 0.25 * frames[0].shape[0] * frames[0].shape[1]


def test_a_film_of_runs_needs_no_ground(tmp_path: Path) -> None:
    path = save_film(run_scene({"well": history()}), tmp_path / "runs.gif", frames=4, dpi=50)
    assert path.stat().st_size > 2_000


@pytest.mark.parametrize("style", ["light", "dark"])
def test_gif_has_its_frames_its_pace_and_its_colours(tmp_path: Path, style: str) -> None:
    from PIL import Image

    path = save_film(scene(), tmp_path / "film.gif", frames=8, fps=10, dpi=60, style=style)
    with Image.open(path) as image:
        assert image.n_frames == 8
        assert image.info["loop"] == 0
        assert image.info["duration"] == 100
        image.seek(7)
        assert image.info["duration"] == 1500
        colors = {c for _, c in image.convert("RGB").getcolors(1 << 20) or []}
    from matplotlib.colors import to_rgb

    from lossdoctor.render.style import style_named

    for wanted in style_named(style).cycle[:2]:  # the colours of the two tracks survive the palette
        rgb = np.array(to_rgb(wanted)) * 255
        assert min(np.abs(np.array(c) - rgb).max() for c in colors) <= 24, wanted


@pytest.mark.skipif(
    shutil.which("ffmpeg") is None, reason="no ffmpeg here; to run this test: apt-get install -y ffmpeg"
)
def test_mp4_is_written_whole(tmp_path: Path) -> None:
    path = save_film(scene(), tmp_path / "film.mp4", frames=5, dpi=51)
    assert path.read_bytes()[4:8] == b"ftyp"
    assert path.stat().st_size > 2_000


def test_without_ffmpeg_the_message_tells_the_next_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(film, "which", lambda _: None)
    with pytest.raises(UsageError, match=r"needs ffmpeg.*install it.*or write a \.gif or an \.html"):
        save_film(scene(), tmp_path / "film.mp4")
    assert list(tmp_path.iterdir()) == []


def test_an_ffmpeg_that_fails_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = tmp_path / "bin" / "ffmpeg"
    fake.parent.mkdir()
    fake.write_text("#!/bin/sh\nhead -c 1000 >/dev/null\necho 'no such encoder' >&2\nexit 3\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{fake.parent}:/usr/bin:/bin")
    with pytest.raises(UsageError, match=r"no such encoder; a \.gif needs no ffmpeg"):
        save_film(scene(), tmp_path / "film.mp4", frames=3, dpi=50)


def test_ffmpeg_gets_every_frame(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An ffmpeg that only counts what it is given, so that this is tested where there is none."""
    fake = tmp_path / "bin" / "ffmpeg"
    fake.parent.mkdir()
    fake.write_text('#!/bin/sh\necho "$@" > args.txt\nfor last; do :; done\nwc -c > "$last"\n')
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{fake.parent}:/usr/bin:/bin")
    monkeypatch.chdir(tmp_path)
    save_film(scene(), "film.mp4", frames=5, dpi=50, fps=7)
    words = (tmp_path / "args.txt").read_text().split()
    width, height = map(int, words[words.index("-s") + 1].split("x"))
    assert int((tmp_path / "film.mp4").read_text()) == 5 * 3 * width * height
    assert words[words.index("-r") + 1] == "7"


@pytest.mark.parametrize(
    ("options", "words"),
    [({"frames": 1}, "2 to 400"), ({"frames": 9999}, "2 to 400"), ({"fps": 0}, "1 to 50"), ({"style": "x"}, "styles")],
)
def test_wrong_numbers_are_told(tmp_path: Path, options: dict[str, int], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        save_film(scene(), tmp_path / "a.gif", **options)  # type: ignore[arg-type]


def test_a_wrong_suffix_and_a_missing_folder_are_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"\.gif, \.mp4"):
        save_film(scene(), tmp_path / "a.avi")
    with pytest.raises(UsageError, match="choose another place"):
        save_film(scene(), tmp_path / "none" / "a.gif", frames=2, dpi=40)
