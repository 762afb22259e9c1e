"""What an experiment is, and the list of all of them.

An experiment is one file with one function of the same name, ``(*, option=default, …) -> Experiment``. The decorator
below says what it shows and what its options mean; defaults and kinds come from the function's signature. A file is
imported to list it, so it imports torch inside the function (``lab.descend`` does, too): listing stays quick.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from importlib import import_module
from typing import Any, cast

from lossdoctor.core.errors import UsageError, nearest
from lossdoctor.lab.result import Experiment

Value = bool | int | float | str | tuple[float, ...] | tuple[int, ...] | tuple[str, ...]
KINDS = {bool: "bool", int: "int", float: "float", str: "str"}


@dataclass(frozen=True)
class Option:
    """One setting of an experiment.

    Attributes:
        name: as in Python; the command line writes it with dashes.
        meaning: one phrase, with the unit where there is one.
        low, high: the valid range of numbers, both ends included; ``above`` excludes ``low`` itself.
        choices: the words allowed; empty: any.
        default, kind, many: from the function's signature. ``kind`` is ``"bool"``, ``"int"``, ``"float"`` or
            ``"str"``; ``many`` says that the value is a tuple of these (on the command line: comma separated).
    """

    name: str
    meaning: str
    low: float = -math.inf
    high: float = math.inf
    above: bool = False
    choices: tuple[str, ...] = ()
    default: Any = None
    kind: str = "float"
    many: bool = False

    @property
    def flag(self) -> str:
        """The name on the command line.

        >>> Option("batch_size", "rows per step").flag
        '--batch-size'
        """
        return "--" + self.name.replace("_", "-")

    @property
    def range(self) -> str:
        """What is allowed, in words.

        >>> Option("lr", "size of a step", low=0, above=True).range
        'a number above 0'
        """
        if self.kind == "bool":
            return "true or false"
        if self.choices:
            return "one of " + ", ".join(self.choices)
        noun = {"int": "a whole number", "float": "a number", "str": "text"}[self.kind]
        if math.isfinite(self.low) and math.isfinite(self.high):
            first, then = ("above", "up to") if self.above else ("from", "to")
            return f"{noun} {first} {self.low:g} {then} {self.high:g}"
        if math.isfinite(self.low):
            return f"{noun} above {self.low:g}" if self.above else f"{noun} of at least {self.low:g}"
        return f"{noun} of at most {self.high:g}" if math.isfinite(self.high) else noun

    def parse(self, text: str) -> Value:
        """The value that a text of the command line or of a file means; raises UsageError as :meth:`check` does.

        >>> Option("rates", "step sizes", default=(0.1,), many=True).parse("0.1, 0.9")
        (0.1, 0.9)
        """
        if not self.many:
            return self.check(self._read(text))
        return self.check(tuple(self._read(part) for part in text.split(",") if part.strip()))

    def check(self, value: Any) -> Value:
        """The value in its kind; raises UsageError when it is of another kind or out of range."""
        if not self.many:
            one: Value = self._one(value)
            return one
        if isinstance(value, str) or not hasattr(value, "__iter__"):
            value = (value,)
        if not (values := tuple(self._one(v) for v in value)) and self.default != ():
            raise UsageError(f"{self.name} needs at least one value: {self.range}")
        return values

    def _read(self, text: str) -> Any:
        text = text.strip()
        if self.kind == "bool":
            return {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False,
                    "0": False}.get(text.lower(), text)  # fmt: skip
        if self.kind == "str":
            return text
        try:
            number = float(text)
        except ValueError:
            return text
        return int(number) if self.kind == "int" and number.is_integer() else number

    def _one(self, value: Any) -> Any:
        if self.kind == "str":
            if isinstance(value, str) and (not self.choices or value in self.choices):
                return value
            raise self._wrong(value, nearest(value, self.choices) if isinstance(value, str) else "")
        if self.kind == "bool":
            if isinstance(value, bool):
                return value
            raise self._wrong(value)
        if hasattr(value, "item"):  # a NumPy scalar
            value = value.item()
        wanted = int if self.kind == "int" else (int, float)
        if isinstance(value, bool) or not isinstance(value, wanted) or not self._inside(value):
            raise self._wrong(value)
        return value if self.kind == "int" else float(value)

    def _inside(self, value: float) -> bool:
        return math.isfinite(value) and self.low <= value <= self.high and not (self.above and value == self.low)

    def _wrong(self, value: Any, hint: str = "") -> UsageError:
        return UsageError(f"{self.name} ({self.meaning}) must be {self.range}, got {value!r}{hint}")


SEED = Option("seed", "seed of everything drawn at random", low=0)
LR = Option("lr", "learning rate", low=0, above=True)
STEPS = Option("steps", "steps of the descent", low=1, high=1_000_000)


@dataclass(frozen=True)
class Spec:
    """An experiment that can be run: call it with its options.

    Attributes:
        name: what it is run by; title: its heading; about: one line on what it shows.
        options: its settings in the order of the signature; function: what computes it.
    """

    name: str
    title: str
    about: str
    options: tuple[Option, ...]
    function: Callable[..., Experiment]

    def __call__(self, **options: Any) -> Experiment:
        """Run it. Options not given keep their defaults; raises UsageError on one that is unknown or out of range."""
        known = {option.name: option for option in self.options}
        for name in options:
            if name not in known:
                what = f"its options: {', '.join(known)}" if known else "it has none"
                raise UsageError(f"{self.name} has no option {name!r}; {what}{nearest(name, known)}")
        result = self.function(**{name: known[name].check(value) for name, value in options.items()})
        return replace(result, name=self.name, title=result.title or self.title)

    def parse(self, texts: Mapping[str, str]) -> dict[str, Value]:
        """Options given as texts, in their kinds; names with dashes or underscores."""
        known = {option.name: option for option in self.options}
        plain = {name.lstrip("-").replace("-", "_"): text for name, text in texts.items()}
        # An unknown name is left as it is: the call refuses it with the nearest one.
        return {name: known[name].parse(text) if name in known else text for name, text in plain.items()}


def found(text: str, **parts: Any) -> Experiment:
    """What an experiment's function returns; its name and title are filled in by :class:`Spec`."""
    return Experiment(name="", title="", text=text, **parts)


def experiment(title: str, about: str, *options: Option) -> Callable[[Callable[..., Experiment]], Spec]:
    """Make a function an experiment: every keyword of its signature needs an Option that says what it means."""

    def wrap(function: Callable[..., Experiment]) -> Spec:
        parameters = inspect.signature(function).parameters
        by_name = {option.name: option for option in options}
        if set(by_name) != set(parameters):
            raise TypeError(f"{function.__name__}: options {sorted(by_name)}, signature {sorted(parameters)}")
        filled = tuple(_filled(by_name[name], parameter.default) for name, parameter in parameters.items())
        return Spec(function.__name__, title, about, filled, function)

    return wrap


def _filled(option: Option, default: Any) -> Option:
    many = isinstance(default, tuple)
    # An empty default says nothing of the kind of its values: the option does.
    kind = option.kind if default == () else KINDS[type(default[0] if many else default)]
    ready = replace(option, default=default, kind=kind, many=many)
    ready.check(default)
    return ready


@cache
def _modules() -> dict[str, str]:
    """Name -> module, in the order of the list."""
    modules = {}
    for package in ("lossdoctor.lab.experiments", "lossdoctor.lab.experiments.trained"):
        modules.update({name: f"{package}.{name}" for name in import_module(package).NAMES})
    return modules


def names() -> list[str]:
    """The names of all experiments, in the order in which they read as a course."""
    return list(_modules())


def get(name: str) -> Spec:
    """The experiment of that name (dashes or underscores); raises UsageError with the nearest name."""
    wanted = name.strip().lower().replace("-", "_")
    if wanted not in _modules():
        raise UsageError(
            f"no experiment is called {name!r}; `lossdoctor lab list` shows them all{nearest(wanted, _modules())}"
        )
    return cast(Spec, getattr(import_module(_modules()[wanted]), wanted))


def run(name: str, **options: Any) -> Experiment:
    """Run the experiment of that name.

    >>> from lossdoctor.lab import experiments
    >>> round(experiments.run("blind_hiker").numbers["x at the end"], 4)
    1.9769
    """
    return get(name)(**options)


def every() -> list[Spec]:
    """All experiments, in the order of :func:`names`."""
    return [get(name) for name in names()]
