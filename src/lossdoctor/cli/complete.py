"""What the shell may complete; files are completed by the shell itself."""

from __future__ import annotations

from collections.abc import Callable


def completing(*words: str) -> Callable[[str], list[str]]:
    """Shell completion of a fixed choice."""
    return lambda incomplete: [w for w in words if w.startswith(incomplete)]


def complete_rules(incomplete: str) -> list[str]:
    """Shell completion of rule codes and names."""
    from lossdoctor.rules import all_rules

    head, comma, last = incomplete.rpartition(",")
    words = [w for rule in all_rules() for w in (rule.code, rule.name)]
    return [f"{head}{comma}{w}" for w in words if w.lower().startswith(last.lower())]


def complete_context(incomplete: str) -> list[str]:
    """Shell completion of the keys of ``--context``."""
    from lossdoctor.cli.settings import context_keys

    return [f"{key}=" for key in context_keys() if key.startswith(incomplete)]


def complete_roles(incomplete: str) -> list[str]:
    """Shell completion of the roles of ``--metric``."""
    from lossdoctor.core.roles import ROLES

    return [f"{role}=" for role in ROLES if role.startswith(incomplete)]
