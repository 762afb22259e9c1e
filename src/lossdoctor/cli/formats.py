"""``lossdoctor formats``: what can be read."""

from __future__ import annotations

from typing import Annotated

import typer

from lossdoctor.cli.complete import completing
from lossdoctor.cli.io import choose, remark, say


def formats(
    format: Annotated[
        str,
        typer.Option(
            "--format", "-f", metavar="FORMAT", autocompletion=completing("text", "json"), help="text or json."
        ),
    ] = "text",
) -> None:
    """List the log formats that can be read. They are found by content; none has to be named."""
    from lossdoctor.readers.registry import registry

    format = choose("format", format, ("text", "json"))
    found = registry()
    for note in found.notes:
        remark(note)
    if format == "json":
        from lossdoctor.render.jsonout import to_json

        say(to_json([{"format": r.name, "describes": r.describes} for r in found.readers], indent=True))
        return
    from rich.table import Table

    from lossdoctor.render.text import make_console

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("Format", no_wrap=True)
    table.add_column("Written by")
    for reader in found.readers:
        table.add_row(reader.name, reader.describes)
    console = make_console()
    console.print(table)
    console.print("\nEach also gzip- (.gz) or Zstandard-compressed (.zst), from standard input (-), or from a URL.")
