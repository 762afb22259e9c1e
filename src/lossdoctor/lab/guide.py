"""Guides as data: which optimizer, which learning rate, which batch size, each row with its source.

>>> from lossdoctor.lab import guide
>>> guide.topics()[:3]
['optimizers', 'learning_rates', 'adjusting_the_rate']
>>> guide.get("learning_rates").rows[1][:3]
('small neural network', 0.001, 'Adam')
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources

from lossdoctor.core.errors import UsageError, nearest
from lossdoctor.lab.result import Table

FILE = "guide.toml"


@dataclass(frozen=True)
class Topic:
    """One guide.

    Attributes:
        name: what it is asked for by; title: its heading; about: what to know before reading the table.
        table: the advice; its last column names the sources by their keys.
        sources: key -> full title, of the sources that the table names, in the order of their first mention.
    """

    name: str
    title: str
    about: str
    table: Table
    sources: Mapping[str, str]


@cache
def _all() -> dict[str, Topic]:
    text = resources.files("lossdoctor.lab").joinpath(FILE).read_text("utf-8")
    data = tomllib.loads(text)
    titles: dict[str, str] = data["sources"]
    found = {}
    for name, topic in data["topics"].items():
        named = list(dict.fromkeys(key for row in topic["rows"] for key in row[-1]))
        rows = tuple((*row[:-1], ", ".join(row[-1])) for row in topic["rows"])
        table = Table(topic["title"], tuple(topic["columns"]), rows, topic["about"])
        found[name] = Topic(name, topic["title"], topic["about"], table, {key: titles[key] for key in named})
    return found


def topics() -> list[str]:
    """The names of the guides, in the order in which they are printed."""
    return list(_all())


def topic(name: str) -> Topic:
    """The guide of that name (dashes or underscores); raises UsageError with the nearest name."""
    wanted = name.strip().lower().replace("-", "_")
    if wanted not in _all():
        raise UsageError(f"there is no guide {name!r}; guides: {', '.join(_all())}{nearest(wanted, _all())}")
    return _all()[wanted]


def get(name: str) -> Table:
    """The table of the guide of that name; its note is what to know before reading it."""
    return topic(name).table


def sources(name: str) -> Mapping[str, str]:
    """Key -> full title of what the guide's last column names."""
    return topic(name).sources
