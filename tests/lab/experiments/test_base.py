"""Options, names and errors of experiments, and what every one of them has to keep."""

from __future__ import annotations

import random
import subprocess
import sys
from functools import cache

import numpy as np
import pytest

from lossdoctor import TrainingHistory
from lossdoctor.core.errors import UsageError
from lossdoctor.lab import experiments
from lossdoctor.lab.experiments.base import Option, experiment, found
from lossdoctor.lab.result import Experiment


@experiment(
    "A title",
    "One line.",
    Option("lr", "step", low=0, above=True),
    Option("rates", "steps", low=0, high=1),
    Option("size", "rows", low=1),
    Option("kind", "which", choices=("good", "bad")),
    Option("deep", "or not"),
)
def sample(
    *, lr: float = 0.1, rates: tuple[float, ...] = (0.1,), size: int = 3, kind: str = "good", deep: bool = False
) -> Experiment:  # fmt: skip
    return found("text", numbers={"sum": lr + sum(rates) + size, "kind": kind, "deep": float(deep)})


# options


def test_defaults_and_kinds_come_from_the_signature() -> None:
    assert [(o.name, o.default, o.kind, o.many) for o in sample.options] == [
        ("lr", 0.1, "float", False), ("rates", (0.1,), "float", True), ("size", 3, "int", False),
        ("kind", "good", "str", False), ("deep", False, "bool", False),
    ]  # fmt: skip
    assert sample.name == "sample"


def test_name_and_title_are_filled_in() -> None:
    result = sample(lr=1)
    assert (result.name, result.title, result.text) == ("sample", "A title", "text")
    assert result.numbers["sum"] == pytest.approx(4.1)


def test_texts_of_the_command_line() -> None:
    given = sample.parse({"--lr": "1e-3", "rates": "0.5, 1", "size": "4", "kind": "bad", "deep": "yes"})
    assert given == {"lr": 0.001, "rates": (0.5, 1.0), "size": 4, "kind": "bad", "deep": True}
    assert sample.options[2].flag == "--size"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lr": 0}, "lr (step) must be a number above 0, got 0"),
        ({"lr": float("nan")}, "lr (step) must be a number above 0, got nan"),
        ({"lr": True}, "must be a number above 0, got True"),
        ({"rates": (0.1, 2)}, "rates (steps) must be a number from 0 to 1, got 2"),
        ({"rates": ()}, "rates needs at least one value"),
        ({"size": 1.5}, "size (rows) must be a whole number of at least 1, got 1.5"),
        ({"kind": "goood"}, "kind (which) must be one of good, bad, got 'goood'; did you mean 'good'?"),
        ({"deep": "perhaps"}, "deep (or not) must be true or false, got 'perhaps'"),
        ({"sise": 3}, "sample has no option 'sise'; its options: lr, rates, size, kind, deep; did you mean 'size'?"),
    ],
)
def test_wrong_options(options: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError) as error:
        sample(**options)
    assert message in str(error.value)


@pytest.mark.parametrize(("name", "text"), [("lr", "fast"), ("size", "2.5"), ("deep", "2")])
def test_texts_that_mean_nothing(name: str, text: str) -> None:
    with pytest.raises(UsageError, match=name):
        sample.parse({name: text})


def test_an_option_without_a_meaning_is_a_mistake_of_the_author() -> None:
    with pytest.raises(TypeError, match="signature"):
        experiment("t", "a", Option("other", "?"))(lambda *, lr=0.1: found(str(lr)))


# the list


def test_unknown_name() -> None:
    with pytest.raises(UsageError, match=r"no experiment is called 'blind_hikr'.*did you mean 'blind_hiker'"):
        experiments.get("blind_hikr")


def test_dashes_are_underscores() -> None:
    assert experiments.get("Blind-Hiker").name == "blind_hiker"


def test_listing_imports_no_torch() -> None:
    code = (
        "import sys; from lossdoctor.lab import experiments, guide\n"
        "assert len([s.about for s in experiments.every()]) == len(set(experiments.names()))\n"
        "guide.get('optimizers')\n"
        "assert not {'torch', 'matplotlib', 'plotly', 'scipy'} & set(sys.modules), 'heavy'"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


# what every descent experiment keeps (the trained ones are checked in their own folder)

FAST = {"ravine": {"conditions": (10.0, 50.0)}, "schedules": {"repeats": 100, "steps": 100}}


def _random_states() -> tuple[object, ...]:
    import torch

    return random.getstate(), str(np.random.get_state()), torch.get_rng_state().numpy().tobytes()


@cache
def ran(name: str) -> tuple[Experiment, bool]:
    before = _random_states()
    result = experiments.run(name, **FAST.get(name, {}))
    return result, before == _random_states()


@pytest.mark.parametrize("name", experiments.NAMES)
def test_every_experiment(name: str) -> None:
    result, untouched = ran(name)
    assert untouched, "the global random state changed"
    assert result.name == name
    assert len(result.text) > 100
    assert result.panels
    assert result.tables
    assert result.numbers
    assert all(isinstance(value, (float, str)) for value in result.numbers.values()), result.numbers
    for panel in result.panels:
        assert panel.lines or panel.field is not None
        for line in panel.lines:
            assert np.isfinite(line.y).any(), (panel.title, line.label)
            if panel.log_y:
                assert not (line.y <= 0).any(), (panel.title, line.label)
            if panel.log_x:
                assert not (line.x <= 0).any(), (panel.title, line.label)
    for label, run in result.runs.items():
        assert isinstance(run, TrainingHistory), label
        assert run.curve("train_loss") is not None, label


@pytest.mark.parametrize("name", experiments.NAMES)
def test_the_same_again(name: str) -> None:
    if name in ("optimizers", "critical_rate", "outlier"):
        pytest.skip("a while, and little or nothing in it is drawn at random")
    first, again = ran(name)[0].numbers, experiments.run(name, **FAST.get(name, {})).numbers
    for key, value in first.items():
        expected = value if isinstance(value, str) else pytest.approx(value, rel=1e-12, nan_ok=True)
        assert again[key] == expected or "bytes" in key, key  # memory depends on what was cached before


@pytest.mark.parametrize("name", experiments.NAMES)
def test_options_are_told(name: str) -> None:
    spec = experiments.get(name)
    assert spec.title
    assert spec.about.endswith((".", "?"))
    for option in spec.options:
        assert option.meaning, option.name
        assert option.range
