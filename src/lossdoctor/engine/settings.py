"""Settings from ``lossdoctor.toml`` or ``[tool.lossdoctor]`` of ``pyproject.toml``, and their checks."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from lossdoctor.core.errors import UsageError, nearest
from lossdoctor.core.options import Settings
from lossdoctor.core.vocabulary import FAIL_ON
from lossdoctor.rules import all_rules, find_rule
from lossdoctor.rules.base import Rule

_KEYS = ("select", "ignore", "rules", "metrics", "context", "fail-on")


def load_settings(path: str | Path | None = None, *, start: Path | None = None) -> Settings:
    """Read the user's settings.

    Args:
        path: a TOML file; without one ``lossdoctor.toml``, then ``pyproject.toml`` is looked for in ``start`` (the
            working directory) and its parents.

    Raises:
        UsageError: the file cannot be read, or holds a key or value that is not known.
    """
    found = Path(path) if path is not None else _find(start or Path.cwd())
    if found is None:
        return Settings()
    try:
        table = tomllib.loads(found.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{found}: cannot be opened ({error.strerror}); check --config") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{found}: not valid TOML ({error})") from None
    if found.name == "pyproject.toml":
        table = table.get("tool", {}).get("lossdoctor", {})
    return settings_from(table, str(found))


def _find(start: Path) -> Path | None:
    for folder in (start, *start.parents):
        own = folder / "lossdoctor.toml"
        if own.is_file():
            return own
        project = folder / "pyproject.toml"
        if project.is_file():
            return project if "[tool.lossdoctor" in project.read_text(encoding="utf-8", errors="replace") else None
    return None


def settings_from(table: Mapping[str, Any], where: str) -> Settings:
    """Settings from a parsed table; raises UsageError naming the key and what is allowed."""
    unknown = [k for k in table if k not in _KEYS]
    if unknown:
        raise UsageError(f"{where}: unknown key {unknown[0]!r}; known are {', '.join(_KEYS)}")
    fail_on = table.get("fail-on", "critical")
    if fail_on not in FAIL_ON:
        raise UsageError(f"{where}: fail-on must be one of {', '.join(FAIL_ON)}, got {fail_on!r}")
    lists = {k: table.get(k, []) for k in ("select", "ignore")}
    tables = {k: table.get(k, {}) for k in ("rules", "metrics", "context")}
    for key, value in lists.items():
        if not isinstance(value, list) or not all(isinstance(c, str) for c in value):
            raise UsageError(f"{where}: {key} must be a list of codes, got {value!r}")
    for key, value in tables.items():
        if not isinstance(value, dict):
            raise UsageError(f"{where}: {key} must be a table, got {value!r}")
    settings = Settings(
        select=tuple(lists["select"]),
        ignore=tuple(lists["ignore"]),
        rules=tables["rules"],
        metrics={k: str(v) for k, v in tables["metrics"].items()},
        context=tables["context"],
        fail_on=fail_on,
    )
    chosen_rules(settings)
    return settings


def chosen_rules(settings: Settings) -> list[Rule]:
    """The rules that the settings select. Raises UsageError on an unknown code or option.

    A code, a name or a prefix of codes (``LD1``) selects. A preview rule runs only when its full code is selected.
    """
    if not (settings.select or settings.ignore or settings.rules):
        return list(_usual())
    check_options(settings)
    selected = {r.code for r in all_rules() if not r.preview}
    if settings.select:
        selected = _codes(settings.select)
    selected -= _codes(settings.ignore)
    return [r for r in all_rules() if r.code in selected]


@cache
def _usual() -> tuple[Rule, ...]:
    """What runs where nothing is chosen."""
    return tuple(r for r in all_rules() if not r.preview)


def _codes(words: Sequence[str]) -> set[str]:
    out: set[str] = set()
    for word in words:
        exact = find_rule(word)
        if exact is not None:
            out.add(exact.code)
            continue
        matching = {r.code for r in all_rules() if r.code.startswith(word.upper()) and not r.preview}
        if not matching or not word:
            raise UsageError(f"unknown code or name {word!r}{_near(word)}")
        out |= matching
    return out


def _near(word: str) -> str:
    """What was meant instead of an unknown code or name, and where they all stand."""
    known = [w for r in all_rules() for w in (r.code, r.name)]
    return f"{nearest(word, known)}; `lossdoctor rules` lists them all"


def check_options(settings: Settings) -> dict[str, dict[str, float]]:
    """The rules' options as given, checked; raises UsageError."""
    out: dict[str, dict[str, float]] = {}
    for word, given in settings.rules.items():
        rule = find_rule(word)
        if rule is None:
            raise UsageError(f"options are given for {word!r}, which is no code or name{_near(word)}")
        if not isinstance(given, Mapping):
            raise UsageError(f"options of {rule.code} must be a table, got {given!r}")
        known = {o.name: o for o in rule.options}
        for name, value in given.items():
            if name not in known:
                raise UsageError(f"{rule.code} has no option {name!r}; it has {', '.join(known) or 'none'}")
            out.setdefault(rule.code, {})[name] = known[name].check(rule.code, value)
    return out
