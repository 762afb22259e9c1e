"""``lossdoctor compare``: which of several runs is better, beyond their noise, and since when."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lossdoctor.cli.complete import completing
from lossdoctor.cli.io import choose, remark, replacing, say

PICTURES = (".png", ".svg", ".pdf")


def compare(
    runs: Annotated[list[str], typer.Argument(metavar="RUN", help="Two or more logs, or folders of runs.")],
    metric: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="A role or a metric's name; by default validation, else training loss."),
    ] = None,
    format: Annotated[
        str,
        typer.Option(
            "--format", "-f", metavar="FORMAT", autocompletion=completing("text", "json"), help="text or json."
        ),
    ] = "text",
    output: Annotated[
        str | None, typer.Option("--output", "-o", metavar="FILE", help="Also draw them: .png, .svg or .pdf.")
    ] = None,
) -> None:
    """Say which run is better at the end, beyond the noise of the curves, and since which step it leads.

    Exit code: 0 compared (also when there is no difference), 2 not comparable or wrong usage.
    """
    from lossdoctor.cli.one_run import read_runs
    from lossdoctor.core.errors import UsageError
    from lossdoctor.engine.compare import compare as judge

    format = choose("format", format, ("text", "json"))
    if output is not None:
        choose("picture suffix", Path(output).suffix or "(none)", PICTURES)
    histories = read_runs(runs, None)
    if len(histories) < 2:
        raise UsageError(f"a comparison needs at least two runs, found {len(histories)} in {', '.join(runs)}")
    result = judge(histories, metric)
    if format == "json":
        from lossdoctor.render.jsonout import comparison_json

        say(comparison_json(result))
    else:
        from lossdoctor.render.compare import print_comparison
        from lossdoctor.render.text import make_console

        print_comparison(result, make_console())
    if output is not None:
        from lossdoctor.render.canvas import save_figure
        from lossdoctor.render.compare import plot_comparison

        with replacing(output) as scratch:
            save_figure(plot_comparison(histories, result), scratch)
        remark(f"wrote {output}")
    if result.winner is None and result.p_value is None:
        raise typer.Exit(2)
