"""Generates docs/rules/ (one page per finding), docs/cli.md and docs/what-it-learned.md. Run by ``make docs``.

tests/test_docs.py fails when a page differs from what this would write.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args, get_type_hints

import typer
from typer.models import ArgumentInfo, OptionInfo

from lossdoctor.cli.app import app
from lossdoctor.cli.pages import index_page, rule_docs, rule_page

DOCS = Path(__file__).parent
sys.path.insert(0, str(DOCS))

import experience_page  # noqa: E402
import rule_cases  # noqa: E402


def pages() -> dict[Path, str]:
    """Every generated page: path below docs/ -> text."""
    docs = rule_docs()
    out = {
        Path("rules", f"{d.code}.md"): rule_page(
            d,
            pictures=rule_cases.pictures_section(rule_cases.shown(d.code)),
            vocabulary=rule_cases.vocabulary_section(rule_cases.findings(d.code)),
        )
        for d in docs
    }
    out[Path("rules", "README.md")] = index_page(docs)
    out[Path("cli.md")] = cli_page()
    out[Path("what-it-learned.md")] = experience_page.page()
    return out


def pictures() -> list[rule_cases.Shown]:
    """Every picture of a case that the pages show."""
    return [one for doc in rule_docs() for one in rule_cases.shown(doc.code)]


@dataclass(frozen=True)
class Parameter:
    """One argument or option of a command."""

    flags: tuple[str, ...]
    metavar: str
    default: str
    help: str
    is_option: bool


def commands() -> dict[str, Callable[..., Any]]:
    """Name -> function of every command; one of a group has both words (``lab run``)."""
    out = {}
    groups = [("", app), *((f"{g.typer_instance.info.name} ", g.typer_instance) for g in app.registered_groups)]
    for group, commander in groups:
        for command in commander.registered_commands:
            assert command.callback is not None
            out[group + (command.name or command.callback.__name__)] = command.callback
    return out


def parameters(function: Callable[..., Any]) -> Iterator[Parameter]:
    """A command's arguments and options, read off its signature (and so the same for every version of Typer)."""
    hints = get_type_hints(function, include_extras=True)
    for name, parameter in inspect.signature(function).parameters.items():
        if hints[name] is typer.Context:
            continue
        kind, info = get_args(hints[name])[:2]
        assert isinstance(info, (ArgumentInfo, OptionInfo))
        option = isinstance(info, OptionInfo)
        # Inside Annotated, Typer keeps the first declaration where a default would stand.
        first = (info.default,) if isinstance(info.default, str) and info.default.startswith("-") else ()
        given = (*first, *(getattr(info, "param_decls", None) or ()))
        flags = given or ((f"--{name.replace('_', '-')}",) if option else ())
        default = parameter.default
        shown = "" if default in (None, False, inspect.Parameter.empty) else str(default)
        metavar = info.metavar or ("" if kind is bool else _metavar(kind))
        yield Parameter(flags, metavar, shown, info.help or "", option)


def _metavar(kind: Any) -> str:
    inner = [k for k in get_args(kind) if k is not type(None)]
    return getattr(inner[0] if inner else kind, "__name__", "VALUE").upper()


def cli_page() -> str:
    """The command line's page."""
    lines = [
        "# Command line",
        "",
        "Generated from the code by `make docs`. `lossdoctor COMMAND --help` says the same.",
        "",
        "Exit codes of every command: 0 done, 2 wrong usage, nothing found or nothing readable; those that judge",
        "(`diagnose`, `watch`, `checkup`) also 1.",
        "`lossdoctor --version` prints the version. `lossdoctor --install-completion` installs completion for the",
        "current shell, `lossdoctor --show-completion` prints it. `python -m lossdoctor` is the same program.",
    ]
    for name, function in commands().items():
        params = list(parameters(function))
        arguments = " ".join(p.metavar for p in params if not p.is_option)
        doc = inspect.getdoc(function) or ""
        lines += ["", f"## lossdoctor {name}", "", "```console", f"$ lossdoctor {name} {arguments}".rstrip(), "```", ""]
        lines += [re.sub(r"``", "`", doc), "", "| argument or option | meaning | default |", "|---|---|---|"]
        for p in params:
            shown = ", ".join(p.flags) if p.is_option else p.metavar
            value = f" {p.metavar}" if p.is_option and p.metavar else ""
            default = f"`{p.default}`" if p.default else ""
            lines.append(f"| `{_cell(shown + value)}` | {_cell(p.help)} | {default} |")
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def main() -> None:
    """Write the pages and pictures, and remove those of rules that are no more."""
    wanted = pages()
    for path, text in wanted.items():
        target = DOCS / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, "utf-8")
    drawn = pictures()
    rule_cases.draw(drawn, DOCS)
    kept = {*wanted, *(one.picture for one in drawn)}
    for old in (p for pattern in ("*.md", "*/*.png") for p in (DOCS / "rules").glob(pattern)):
        if old.relative_to(DOCS) not in kept:
            old.unlink()
    print(f"wrote {len(wanted)} pages and {len(drawn)} pictures under {DOCS}")


if __name__ == "__main__":
    main()
