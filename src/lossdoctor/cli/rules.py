"""``lossdoctor rules``: what can be found in a run."""

from __future__ import annotations

from typing import Annotated

import typer

from lossdoctor.cli.complete import completing
from lossdoctor.cli.io import choose, remark, say


def rules(
    format: Annotated[
        str,
        typer.Option(
            "--format", "-f", metavar="FORMAT", autocompletion=completing("text", "json"), help="text or json."
        ),
    ] = "text",
) -> None:
    """List the rules: code, name, default severity, and what each sees."""
    from lossdoctor.cli.pages import rule_docs
    from lossdoctor.rules import plugin_errors

    format = choose("format", format, ("text", "json"))
    docs = rule_docs()
    for error in plugin_errors():
        remark(error)
    if format == "json":
        from dataclasses import asdict

        from lossdoctor.render.jsonout import to_json

        say(to_json([asdict(d) for d in docs], indent=True))
        return
    from rich.table import Table

    from lossdoctor.render.text import make_console

    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("Code", "Name", "Severity", "Sees"):
        table.add_column(column, no_wrap=column != "Sees")
    for d in docs:
        table.add_row(d.code, d.name + (" (preview)" if d.preview else ""), d.severity, d.summary)
    make_console().print(table)
