"""All rules: the families' lists and those that plugins register under the entry point group ``lossdoctor.rules``."""

from __future__ import annotations

import inspect
import re
from functools import cache
from importlib.metadata import entry_points

from lossdoctor.rules import generalization, log, progress, stability
from lossdoctor.rules.base import SECTIONS, Rule

FAMILIES = (stability, progress, generalization, log)


@cache
def all_rules() -> tuple[Rule, ...]:
    """Every rule, ordered by code. A plugin that cannot be imported is left out; see :func:`plugin_errors`."""
    return _load()[0]


@cache
def plugin_errors() -> tuple[str, ...]:
    """What went wrong while loading rules of plugins."""
    return _load()[1]


@cache
def _load() -> tuple[tuple[Rule, ...], tuple[str, ...]]:
    rules: dict[str, Rule] = {}
    errors: list[str] = []
    for family in FAMILIES:
        for kind in family.RULES:
            rules[kind.code] = kind()
    for entry in entry_points(group="lossdoctor.rules"):
        try:
            rule = entry.load()()
        except Exception as error:
            errors.append(f"rule plugin {entry.name!r} ({entry.value}) cannot be loaded: {error!r}")
            continue
        if rule.code in rules:
            errors.append(f"rule plugin {entry.name!r} uses the code {rule.code}, which is taken")
            continue
        rules[rule.code] = rule
    return tuple(rules[c] for c in sorted(rules)), tuple(errors)


def find_rule(word: str) -> Rule | None:
    """The rule with this code or name, whatever its case; None when there is none."""
    low = word.strip().lower()
    return next((r for r in all_rules() if low in (r.code.lower(), r.name.lower())), None)


def sections(rule: Rule) -> dict[str, str]:
    """The fixed sections of a rule's docstring, and its first line under ``"Summary"``; missing ones are left out."""
    text = inspect.getdoc(type(rule)) or ""
    parts = re.split(r"^## +(.+)$", text, flags=re.MULTILINE)
    out = {"Summary": parts[0].strip()}
    for title, body in zip(parts[1::2], parts[2::2], strict=True):
        if title.strip() in SECTIONS:
            out[title.strip()] = body.strip()
    return out
