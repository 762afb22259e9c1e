"""Remedies in short runs: what helps is found, what does not is not, and the budget is kept."""

from __future__ import annotations

import builtins
import json
import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from lossdoctor.core.errors import LossdoctorError, UsageError
from lossdoctor.workup import prove
from lossdoctor.workup.proof import Effect

pytest.importorskip("optuna", reason="pip install 'lossdoctor[prove]'")


class Bowl:
    """SGD on a noisy parabola; counts what it is asked for."""

    def __init__(self, noise: float = 0.1) -> None:
        self.noise, self.steps = noise, 0
        self.calls: list[tuple[dict[str, Any], int, int]] = []

    def train(self, config: dict[str, Any], steps: int, seed: int) -> float:
        self.calls.append((config, steps, seed))
        self.steps += steps
        return self._losses(config, steps, seed)[-1]

    def reporting(
        self, config: dict[str, Any], steps: int, seed: int, report: Callable[[int, float], bool]
    ) -> float | None:
        self.calls.append((config, steps, seed))
        for step, loss in enumerate(self._losses(config, steps, seed), 1):
            self.steps += 1
            if report(step, loss):
                return None
        return loss

    def _losses(self, config: dict[str, Any], steps: int, seed: int) -> list[float]:
        rng = np.random.default_rng(seed)
        x, losses = 3.0 + rng.normal(), []
        for _ in range(steps):
            x -= config["lr"] * (x + self.noise * rng.normal() + config.get("weight_decay", 0.0) * x)
            if config.get("clip_norm"):
                x = float(np.clip(x, -5, 5))
            losses.append(x * x if abs(x) < 1e6 else math.nan)
        return losses


@pytest.mark.parametrize("form", ["train", "reporting"])
def test_a_rate_too_low_is_raised(form: str) -> None:
    bowl = Bowl()
    proof = prove(getattr(bowl, form), {"lr": 0.003}, ["add_regularization", "increase_learning_rate"], 4000,
                  accepts=["weight_decay"])  # fmt: skip
    assert proof.best == "lr 0.003 to 0.03"
    assert proof.best_config == {"lr": 0.03}
    effect = proof.effects[0]
    assert effect.verdict == "helps"
    assert 0.5 < effect.relative < 1.0
    assert effect.gain > 3 * effect.error > 0
    assert proof.outcome == "passed"
    assert "lowers the validation loss by" in proof.verdict
    assert proof.steps == bowl.steps <= 4000


def test_the_effect_is_measured_by_seeds_that_chose_nothing() -> None:
    bowl = Bowl()
    proof = prove(bowl.train, {"lr": 0.003}, ["increase_learning_rate"], 4000, seeds=4)
    by_phase = {phase: {t.seed for t in proof.trials if t.phase == phase} for phase in ("screening", "measuring")}
    assert by_phase == {"screening": {0}, "measuring": {1, 2, 3, 4}}
    full = {(c["lr"], s): bowl._losses(c, proof.length, s)[-1] for c, _, s in bowl.calls}
    effect = proof.effects[0]
    assert effect.before == tuple(full[0.003, s] for s in (1, 2, 3, 4))
    assert effect.after == tuple(full[0.03, s] for s in (1, 2, 3, 4))
    gains = np.subtract(effect.before, effect.after)
    assert effect.gain == pytest.approx(gains.mean())
    assert effect.error == pytest.approx(gains.std(ddof=1) / 2)


def test_a_run_lost_to_nan_is_saved() -> None:
    proof = prove(Bowl().reporting, {"lr": 2.5}, ["reduce_learning_rate"], 2000)
    assert proof.effects[0].saved == 4
    assert math.isnan(proof.effects[0].gain)
    assert "from NaN" in proof.verdict
    assert proof.best_config["lr"] < 1.0


def test_a_remedy_that_loses_runs_harms() -> None:
    proof = prove(Bowl().train, {"lr": 0.3}, ["increase_learning_rate"], 4000)
    assert [e.verdict for e in proof.effects if e.remedy == "lr 0.3 to 3"] in ([], ["harms"])
    assert proof.best_config["lr"] in (0.3, 0.9)


def test_two_remedies_that_help_are_tried_together() -> None:
    def train(config: dict[str, Any], steps: int, seed: int) -> float:
        noise = 0.01 * np.random.default_rng([seed, steps, int(1e3 * config["lr"]), config["batch_size"]]).normal()
        return float(4.0 - (config["lr"] > 0.05) - (config["batch_size"] > 50) + noise)

    proof = prove(train, {"lr": 0.01, "batch_size": 32}, ["increase_learning_rate", "increase_batch_size"], 6000)
    both = next(e for e in proof.effects if ";" in e.remedy)
    assert both is proof.effects[0]
    assert both.gain == pytest.approx(2.0, abs=0.05)
    assert proof.best_config == {"lr": 0.1, "batch_size": 128}


def test_noise_alone_seldom_counts_as_help() -> None:
    """Remedies that do nothing, 60 times over: what is chosen among them by luck must not be called helpful."""
    wrong = 0
    for trial in range(60):

        def train(config: dict[str, Any], steps: int, seed: int, trial: int = trial) -> float:
            key = [trial, seed, steps, int(1e6 * config["lr"]), int(1e3 * config["dropout"])]
            return float(1.0 + 0.1 * np.random.default_rng(key).normal())

        advice = ["reduce_learning_rate", "increase_learning_rate", "add_regularization"]
        wrong += bool(prove(train, {"lr": 0.01, "dropout": 0.1}, advice, 2000).helped)
    assert wrong <= 8  # 5 % of all, and of two remedies each; more would be one in a thousand


def test_the_worse_ones_are_left_behind() -> None:
    bowl = Bowl()
    proof = prove(bowl.reporting, {"lr": 0.05}, ["increase_learning_rate", "reduce_learning_rate"], 6000)
    states = {t.remedy: t.state for t in proof.trials if t.phase == "screening"}
    assert states["lr 0.05 to 0.005"] == "pruned"
    assert next(t.steps for t in proof.trials if t.state == "pruned") <= proof.length / 2
    assert any("not pursued" in told for _, told in proof.rows())


@pytest.mark.parametrize("budget", [200, 333, 1000, 5000])
@pytest.mark.parametrize("form", ["train", "reporting"])
def test_the_budget_is_kept(budget: int, form: str) -> None:
    bowl = Bowl()
    proof = prove(getattr(bowl, form), {"lr": 0.02, "clip_norm": None},
                  ["increase_learning_rate", "reduce_learning_rate", "clip_gradients"], budget)  # fmt: skip
    assert proof.steps == bowl.steps <= budget
    assert proof.steps > budget / 4
    assert min(len(e.before) for e in proof.effects) >= 2


def test_the_length_of_runs_can_be_given() -> None:
    bowl = Bowl()
    proof = prove(bowl.reporting, {"lr": 0.02}, ["increase_learning_rate", "reduce_learning_rate"], 700, steps=100)
    assert proof.length == 100
    assert {n for _, n, _ in bowl.calls} == {100}
    assert proof.steps == bowl.steps <= 700


def test_what_no_key_can_express_is_named() -> None:
    proof = prove(Bowl().train, {"lr": 0.003}, ["increase_learning_rate", "clip_gradients", "check_data"], 2000)
    assert [name for name, _ in proof.not_tested] == ["clip_gradients", "check_data"]
    assert "'clip_norm'" in dict(proof.not_tested)["clip_gradients"]
    assert "nothing to train" in dict(proof.not_tested)["check_data"]


def test_a_remedy_of_ones_own_is_tried() -> None:
    proof = prove(Bowl().train, {"lr": 0.003}, [], 2000, remedies={"the paper's rate": {"lr": 0.5}})
    assert proof.best == "the paper's rate"
    assert proof.best_config == {"lr": 0.5}


def test_a_remedy_that_raises_is_recorded_and_the_others_go_on() -> None:
    bowl = Bowl()

    def train(config: dict[str, Any], steps: int, seed: int) -> float:
        if "clip_norm" in config:
            raise TypeError("unexpected keyword 'clip_norm'")
        return bowl.train(config, steps, seed)

    proof = prove(train, {"lr": 0.003}, ["clip_gradients", "increase_learning_rate"], 3000, accepts={"clip_norm"})
    (failed,) = [t for t in proof.trials if t.state == "failed"]
    assert failed.error == "TypeError: unexpected keyword 'clip_norm'"
    assert proof.best == "lr 0.003 to 0.03"
    assert "the training raised TypeError" in str(proof)


def test_training_that_always_fails_ends_in_words() -> None:
    def train(config: dict[str, Any], steps: int) -> float:  # noqa: ARG001
        raise RuntimeError("no data")

    proof = prove(train, {"lr": 0.1}, ["reduce_learning_rate"], 1000)
    assert proof.outcome == "unknown"
    assert proof.best_config == {"lr": 0.1}
    assert "RuntimeError: no data" in proof.verdict


def test_training_without_noise_needs_no_test() -> None:
    proof = prove(lambda config, steps: (1.0 - config["lr"]) ** steps, {"lr": 0.001}, ["increase_learning_rate"], 1000)
    assert (proof.effects[0].verdict, proof.effects[0].error) == ("helps", 0.0)
    assert "the same for every seed" in proof.verdict


def test_generators_are_asked_step_by_step() -> None:
    def train(config: dict[str, Any], steps: int, seed: int) -> Iterator[tuple[int, float]]:
        for step, loss in enumerate(Bowl()._losses(config, steps, seed), 1):
            if step % 5 == 0:
                yield step, loss

    proof = prove(train, {"lr": 0.003}, ["increase_learning_rate"], 2000)
    assert proof.best == "lr 0.003 to 0.03"
    assert len(proof.trials[0].points) > 3


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"budget": 20}, "budget of 20 steps is too small for 2 changes by 4 seeds: give at least"),
        ({"budget": 500, "steps": 100}, "in runs of 100 steps: give at least 600"),
        ({"budget": 500, "seeds": 1}, "seeds is 1; at least 2"),
        ({"budget": 500, "findings": ["check_data"]}, "there is no remedy to try: check_data: it tells where to look"),
        ({"budget": 500, "findings": []}, "there is no remedy to try: nothing is advised"),
    ],
)
def test_what_cannot_be_done_is_said(options: dict[str, Any], words: str) -> None:
    findings = options.pop("findings", ["reduce_learning_rate"])
    with pytest.raises(UsageError, match=words):
        prove(Bowl().train, {"lr": 0.1}, findings, **options)


def test_without_optuna_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.partition(".")[0] == "optuna":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(LossdoctorError, match=r"'optuna'.*pip install 'lossdoctor\[prove\]'"):
        prove(Bowl().train, {"lr": 0.1}, ["reduce_learning_rate"], 1000)


def test_optuna_says_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    import optuna

    before = optuna.logging.get_verbosity()
    prove(Bowl().train, {"lr": 0.003}, ["increase_learning_rate"], 1000)
    assert capfd.readouterr() == ("", "")
    assert optuna.logging.get_verbosity() == before


def test_the_result_tells_and_shows_itself() -> None:
    proof = prove(Bowl().reporting, {"lr": 0.003}, ["increase_learning_rate", "reduce_learning_rate"], 3000)
    text = str(proof)
    assert "Proof of the remedies: lr 0.003 to 0.03 lowers" in text
    assert f"{proof.steps:,} of 3,000 steps" in text
    told = proof.as_dict()
    assert told["effects"][0]["verdict"] == "helps"
    assert json.loads(json.dumps(told))["best_config"] == {"lr": 0.03}
    bars, curves = proof.charts()
    assert bars.bars[0][0] == "lr 0.003 to 0.03"
    assert len(curves.lines) == len([t for t in proof.trials if t.phase == "screening"])


@pytest.mark.parametrize(
    ("before", "after", "verdict"),
    [
        ((1.0, 1.1, 0.9), (0.5, 0.61, 0.41), "helps"),
        ((0.5, 0.61, 0.41), (1.0, 1.1, 0.9), "harms"),
        ((1.0, 1.1, 0.9), (0.9, 1.2, 0.88), "unclear"),
        ((math.inf, math.inf, 1.0), (0.5, 0.6, 1.0), "helps"),
        ((math.inf, 1.0, 1.1), (0.5, 0.4, 0.45), "unclear"),
        ((1.0, 1.1, 0.9), (math.inf, math.inf, 0.1), "harms"),
        ((1.0,), (0.1,), "unclear"),
        ((math.inf, math.inf), (math.inf, math.inf), "unclear"),
    ],
)
def test_verdicts(before: tuple[float, ...], after: tuple[float, ...], verdict: str) -> None:
    assert Effect("x", "y", {}, before, after, 2).verdict == verdict
