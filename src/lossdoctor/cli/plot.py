"""``lossdoctor plot``: the picture of a run with its diagnosis."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lossdoctor.cli.compare import PICTURES
from lossdoctor.cli.io import choose, remark, replacing
from lossdoctor.cli.options import Metric


def plot(
    path: Annotated[str, typer.Argument(metavar="RUN", help="A log, or a folder with one run.")],
    output: Annotated[
        str, typer.Option("--output", "-o", metavar="FILE", help="Where to: its suffix .png, .svg or .pdf decides.")
    ] = "curves.png",
    run: Annotated[
        str | None, typer.Option(metavar="NAME|NUMBER", help="Which run, where the path holds several.")
    ] = None,
    metric: Metric = None,
    dpi: Annotated[int, typer.Option(min=30, max=2400, help="Dots per inch of a PNG.")] = 300,
) -> None:
    """Draw a run: train and validation, the gap, onset and best step, with what was found."""
    from lossdoctor.cli.one_run import read_one
    from lossdoctor.render.pictures import save_picture

    choose("picture suffix", Path(output).suffix or "(none)", PICTURES)
    history = read_one(path, run, metric)
    diagnosis = history.diagnose()
    with replacing(output) as scratch:
        save_picture(history, scratch, diagnosis, dpi=dpi)
    remark(f"wrote {output}")
