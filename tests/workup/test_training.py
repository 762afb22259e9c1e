"""The user's training function in all its forms; what it draws does not disturb anybody."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch

from lossdoctor.core.errors import UsageError
from lossdoctor.workup.training import Training

CONFIG = {"lr": 0.1}


def plain(config: dict[str, Any], steps: int) -> float:
    return float((1.0 - config["lr"]) ** steps)


def reporting(config: dict[str, Any], steps: int, seed: int, report: Callable[[int, float], bool]) -> float:  # noqa: ARG001
    for step in range(1, steps + 1):
        if report(step, 1.0 / step + seed):
            raise StopAsked
    return seed


class StopAsked(Exception):
    """What a user's loop may raise to get out."""


StopAsked.__name__ = "TrialPruned"


def yielding(config: dict[str, Any], steps: int) -> Iterator[tuple[int, float]]:
    for step in range(10, steps + 1, 10):
        yield step, config["lr"] * step


def test_a_function_that_returns_its_loss() -> None:
    ran = Training(plain).run(CONFIG, 3, seed=0)
    assert ran.points == [(3, pytest.approx(0.729))]
    assert (ran.steps, ran.stopped, ran.error) == (3, False, "")


def test_a_function_that_reports_is_stopped_when_asked() -> None:
    training = Training(reporting)
    assert training.seeded
    assert training.goes_on
    ran = training.run(CONFIG, 50, seed=2, prune=lambda step, _: step == 7)
    assert (ran.stopped, ran.steps, ran.error, ran.value) == (True, 7, "", 1 / 7 + 2)
    assert training.run(CONFIG, 5, seed=2).points[-1] == (5, 2.0)  # what it returns is its end


def test_a_generator_is_closed_when_it_is_stopped() -> None:
    ended = []

    def training(config: dict[str, Any], steps: int) -> Iterator[tuple[int, float]]:
        try:
            yield from yielding(config, steps)
        finally:
            ended.append(True)

    ran = Training(training).run(CONFIG, 100, seed=0, prune=lambda step, _: step >= 30)
    assert (ran.steps, ran.points[-1], ended) == (30, (30, pytest.approx(3.0)), [True])


def test_a_run_is_over_with_its_first_nan() -> None:
    def training(config: dict[str, Any], steps: int) -> Iterator[tuple[int, float]]:  # noqa: ARG001
        yield 10, 1.0
        yield 20, math.nan
        raise AssertionError("it must not come here")

    ran = Training(training).run(CONFIG, 100, seed=0)
    assert (ran.value, ran.steps, ran.error) == (math.inf, 20, "")


def test_an_exception_is_in_the_result() -> None:
    def broken(config: dict[str, Any], steps: int) -> float:  # noqa: ARG001
        raise ValueError("the width must be even")

    ran = Training(broken).run(CONFIG, 10, seed=0)
    assert (ran.error, ran.value) == ("ValueError: the width must be even", math.inf)


def test_ctrl_c_goes_through() -> None:
    def stopped(config: dict[str, Any], steps: int) -> float:  # noqa: ARG001
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Training(stopped).run(CONFIG, 10, seed=0)


def test_the_configuration_is_a_copy() -> None:
    def greedy(config: dict[str, Any], steps: int) -> float:  # noqa: ARG001
        return float(config.pop("lr"))

    config = dict(CONFIG)
    Training(greedy).run(config, 10, seed=0)
    assert config == CONFIG


def test_all_generators_are_seeded_and_put_back() -> None:
    def drawing(config: dict[str, Any], steps: int) -> float:  # noqa: ARG001
        return random.random() + float(np.random.random()) + float(torch.rand(()))

    random.seed(5)
    np.random.seed(5)
    torch.manual_seed(5)
    expected = random.random(), float(np.random.random()), float(torch.rand(()))
    random.seed(5)
    np.random.seed(5)
    torch.manual_seed(5)
    first, other, again = (Training(drawing).run(CONFIG, 1, seed).value for seed in (1, 2, 1))
    assert first == again != other
    assert (random.random(), float(np.random.random()), float(torch.rand(()))) == expected


@pytest.mark.parametrize(
    ("function", "words"),
    [
        ("train", "train_fn is a str; expected a function"),
        (lambda config: 1.0, r"train_fn\(config\) cannot be called as train_fn\(config, steps\)"),  # noqa: ARG005
        (lambda config, steps, data: 1.0, "cannot be called as"),  # noqa: ARG005
    ],
)
def test_what_cannot_be_called_is_refused(function: Any, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        Training(function)


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (lambda config, steps: None, "gave no validation loss; expected it to return one"),  # noqa: ARG005
        (lambda config, steps: "low", "gave a str; expected the validation loss"),  # noqa: ARG005
        (lambda config, steps: iter([0.5]), r"yielded 0.5; expected \(step, val_loss\)"),  # noqa: ARG005
    ],
)
def test_what_gives_no_loss_is_refused(function: Any, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        Training(function).run(CONFIG, 10, seed=0)
