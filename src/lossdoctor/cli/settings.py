"""From a settings file and the flags of one call to what the engine is told."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields, replace
from typing import TYPE_CHECKING

from lossdoctor.cli.io import choose
from lossdoctor.core.context import RunContext
from lossdoctor.core.errors import UsageError, nearest
from lossdoctor.core.options import Settings
from lossdoctor.core.roles import ROLES
from lossdoctor.core.vocabulary import FAIL_ON

if TYPE_CHECKING:
    from lossdoctor.rules.base import Rule


def effective_settings(
    config: str | None,
    select: Iterable[str],
    ignore: Iterable[str],
    metrics: Mapping[str, str],
    context: Mapping[str, str],
    fail_on: str | None,
) -> Settings:
    """The settings file with the flags over it.

    Raises:
        UsageError: an unknown code, role, context key or severity; two roles on one metric; a broken settings file.
    """
    from lossdoctor.engine import load_settings
    from lossdoctor.engine.settings import chosen_rules

    settings = load_settings(config)
    check_roles(metrics)
    check_context(context)
    chosen = replace(
        settings,
        select=_words(select) or settings.select,
        ignore=(*settings.ignore, *_words(ignore)),
        metrics={**settings.metrics, **metrics},
        context={**settings.context, **context},
        fail_on=choose("severity for --fail-on", fail_on, FAIL_ON) if fail_on is not None else settings.fail_on,
    )
    chosen_rules(chosen)  # an unknown code is told before anything is read
    return chosen


def run_context(settings: Settings) -> RunContext | None:
    """What the settings and flags say about the runs; None when they say nothing."""
    return RunContext.from_pairs(settings.context) if settings.context else None


def _words(given: Iterable[str]) -> tuple[str, ...]:
    """Comma-separated and repeated words as one tuple."""
    return tuple(dict.fromkeys(w.strip() for part in given for w in part.split(",") if w.strip()))


def rule_named(word: str) -> Rule:
    """A rule by code or name; raises UsageError with the nearest one."""
    from lossdoctor.rules import all_rules, find_rule

    rule = find_rule(word.replace("_", "-"))
    if rule is None:
        names = [*(r.code for r in all_rules()), *(r.name for r in all_rules())]
        raise UsageError(f"no rule {word!r}{nearest(word, names)}; `lossdoctor rules` lists them")
    return rule


def check_roles(metrics: Mapping[str, str]) -> None:
    """Raise UsageError on an unknown role, or on two roles that name one metric."""
    seen: dict[str, str] = {}
    for role, name in metrics.items():
        choose("role in --metric", role, ROLES)
        if name in seen:
            raise UsageError(f"--metric puts both {seen[name]} and {role} on {name!r}; a metric can play one role")
        seen[name] = role


def context_keys() -> tuple[str, ...]:
    """The keys that ``--context`` takes."""
    return tuple(f.name for f in fields(RunContext) if f.name not in ("directions", "metrics", "extra"))


def check_context(context: Mapping[str, str]) -> None:
    """Raise UsageError on an unknown key, with the nearest one, or on a value that does not fit."""
    for key in context:
        if not key.startswith("direction:"):
            choose("context key", key, (*context_keys(), "direction:METRIC"))
    RunContext.from_pairs(context)
