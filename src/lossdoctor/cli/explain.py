"""``lossdoctor explain``: what a rule sees, why it matters, when it is wrong, and what to try."""

from __future__ import annotations

from typing import Annotated

import typer

from lossdoctor.cli.complete import complete_rules


def explain(
    rule: Annotated[
        str,
        typer.Argument(
            metavar="CODE|NAME",
            autocompletion=complete_rules,
            help="As in LD301 or overfitting.",
        ),
    ],
) -> None:
    """Explain a finding: what it sees, why it matters, when it is wrong, and what to try."""
    from lossdoctor.cli.pages import rule_doc
    from lossdoctor.cli.settings import rule_named
    from lossdoctor.render.text import make_console, print_rule

    print_rule(rule_doc(rule_named(rule)), make_console())
