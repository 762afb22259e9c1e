"""The options that several commands share, with one wording and one completion each."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from lossdoctor.cli.complete import complete_context, complete_roles, complete_rules, completing
from lossdoctor.core.vocabulary import FAIL_ON

FailOn = Annotated[
    str | None,
    typer.Option(
        metavar="LEVEL",
        autocompletion=completing(*FAIL_ON),
        help="Exit with 1 from this severity on: warning, critical (default) or never.",
    ),
]
Output = Annotated[
    str | None, typer.Option("--output", "-o", metavar="FILE", help="Write there instead of standard output.")
]
Select = Annotated[
    list[str] | None,
    typer.Option(
        metavar="CODES",
        autocompletion=complete_rules,
        help="Run only these rules: codes, names or prefixes such as LD1; repeatable.",
    ),
]
Ignore = Annotated[
    list[str] | None,
    typer.Option(metavar="CODES", autocompletion=complete_rules, help="Leave these rules out; repeatable."),
]
Metric = Annotated[
    list[str] | None,
    typer.Option(
        metavar="ROLE=NAME",
        autocompletion=complete_roles,
        help="Which metric plays a role, as in val_loss=dev/ce; repeatable.",
    ),
]
Context = Annotated[
    list[str] | None,
    typer.Option(
        metavar="KEY=VALUE",
        autocompletion=complete_context,
        help="What else is known of the runs, as in classes=10; repeatable.",
    ),
]
Config = Annotated[
    str | None,
    typer.Option(metavar="FILE", help="Settings; by default lossdoctor.toml or pyproject.toml, from here upwards."),
]


def one_of(formats: tuple[str, ...]) -> Any:
    """The option ``--format`` of a report."""
    choices = completing(*formats)
    return typer.Option(
        "--format", "-f", metavar="FORMAT", autocompletion=choices, help=f"One of {', '.join(formats)}."
    )
