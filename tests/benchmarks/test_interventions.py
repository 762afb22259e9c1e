"""Remedies change what they say, advice is scored by it, and the held-out half stays frozen. Needs torch."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("sklearn")

import torch
from benchmarks.clinic import corpus, faults, frozen, interventions, remedies, tasks
from benchmarks.clinic.config import Config
from benchmarks.clinic.interventions import Outcomes
from benchmarks.clinic.train import Loop

from lossdoctor.core.vocabulary import ACTIONS

HEALTHY = Config("friedman", lr=1e-3, steps=120, val_every=10, batch_size=64)
MOMENTUM = HEALTHY.change(optimizer="momentum", lr=0.01)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, so that tests neither read nor fill the real one."""
    monkeypatch.setattr(corpus, "CACHE", tmp_path)
    return tmp_path


def sick(name: str, base: Config = HEALTHY) -> Config:
    return faults.get(name).configure(base, np.random.default_rng(1))


def loop(name: str, action: str, base: Config = HEALTHY) -> Loop:
    config = remedies.treated(sick(name, base), action)
    assert config is not None
    return Loop(config)


def test_every_action_has_its_line_and_no_remedy_touches_the_seed_or_the_task() -> None:
    assert set(remedies.TABLE) | remedies.UNTRAINED == set(ACTIONS)
    for name in faults.names():
        base = HEALTHY.change(task="digits_mlp") if faults.get(name).kinds else MOMENTUM
        for action in ACTIONS:
            config = remedies.treated(sick(name, base), action)
            if config is not None:
                assert (config.task, config.seed, config.fault) == (base.task, base.seed, name)
                assert config.steps == (3 if action == "train_longer" else 1) * sick(name, base).steps


def test_a_remedy_is_part_of_the_hash_and_none_leaves_the_hash_as_it_was() -> None:
    assert HEALTHY.change(remedy="clip_gradients").key() != HEALTHY.key()
    assert Config("cancer").key() == "60d9cbc706516d41"


@pytest.mark.parametrize(
    ("action", "field", "wanted"),
    [
        ("reduce_learning_rate", "lr", 1e-4),
        ("increase_learning_rate", "lr", 1e-2),
        ("decay_learning_rate", "schedule", "cosine"),
        ("add_warmup", "schedule", "warmup"),
        ("change_optimizer", "optimizer", "momentum"),
        ("clip_gradients", "clip_norm", 1.0),
        ("increase_batch_size", "batch_size", 256),
        ("increase_capacity", "width", 128),
        ("reduce_capacity", "width", 8),
    ],
)
def test_a_remedy_changes_one_thing(action: str, field: str, wanted: object) -> None:
    config = remedies.treated(HEALTHY, action)
    assert config is not None
    assert getattr(config, field) == (pytest.approx(wanted) if isinstance(wanted, float) else wanted)


def test_what_would_change_nothing_is_not_trained() -> None:
    unchanged = ["shuffle_data", "get_more_data", "clean_data", "adjust_momentum", "none", "check_data", "stop_early"]
    assert [remedies.treated(HEALTHY, a) for a in unchanged] == [None] * len(unchanged)


def test_normalized_inputs_have_spread_one_even_when_they_came_unscaled() -> None:
    inputs = loop("unscaled_inputs", "normalize_inputs").task.splits.train[0]
    assert inputs.mean(dim=0).abs().max() < 1e-3
    assert inputs.std(dim=0).numpy() == pytest.approx(1.0, abs=1e-3)


def test_fresh_weights_are_neither_zero_nor_dead() -> None:
    for fault in ("zero_init", "dead_init"):
        made = loop(fault, "fix_initialization")
        hidden = made.task.model[:2](made.task.splits.train[0])  # type: ignore[index]
        assert (hidden > 0).float().mean() > 0.2


def test_clean_data_takes_the_fault_away() -> None:
    clean = Loop(HEALTHY).task.splits.train[1]
    assert torch.equal(loop("label_noise", "clean_data").task.splits.train[1], clean)
    assert not torch.equal(loop("label_noise", "train_longer").task.splits.train[1], clean)


def test_gains_are_shares_of_the_level_and_nan_is_infinite() -> None:
    made = Outcomes("outliers", 2.0, {"a": 1.0, "b": 1.95, "c": math.inf, "d": 2.2}, 0.5, 2.0)
    assert [round(made.gain(x), 3) for x in "abcde"] == [0.5, 0.025, -1.0, -0.1, 0.0]
    assert [made.right(x) for x in "abcde"] == [True, False, False, False, False]
    assert [made.harmful(x) for x in "abcde"] == [False, False, True, True, False]
    assert made.right("check_data")
    assert not made.right("check_validation")
    assert made.rightful == ("a", "check_data")
    lost = Outcomes("lr_nan", math.inf, {"a": 5.0, "b": math.inf}, 0.5, math.inf)
    assert (lost.gain("a"), lost.gain("b"), lost.treatable) == (1.0, 0.0, True)
    assert not Outcomes("lr_low", 1.0, {"a": 0.7}, 0.1, 1.0).treatable  # the cure counts only where a check leads to it
    assert Outcomes("missing_step", 1.0, {"a": 0.7}, 0.1, 1.0).treatable


@pytest.mark.usefixtures("cache")
def test_a_low_rate_is_helped_by_a_higher_one_and_outcomes_come_from_the_cache() -> None:
    low = sick("lr_low").change(lr=3e-5)
    first = interventions.outcomes(low, HEALTHY)
    assert first.right("increase_learning_rate")
    assert not first.right("reduce_learning_rate")
    assert not first.missing
    again = interventions.outcomes(low, HEALTHY, train=False)
    assert again == first


@pytest.mark.usefixtures("cache")
def test_what_is_not_trained_is_told_and_nan_is_infinite() -> None:
    low = sick("nan_in_data")
    corpus.load(low)
    corpus.load(HEALTHY)
    made = interventions.outcomes(low, HEALTHY, train=False)
    assert "clean_data" in made.missing
    assert made.base == math.inf
    assert made.right("stop_early")
    assert interventions.final_loss(remedies.treated(low, "clip_gradients")) == math.inf  # type: ignore[arg-type]
    assert interventions.final_loss(remedies.treated(low, "clean_data")) < 1.0  # type: ignore[arg-type, operator]


def test_the_best_checkpoint_is_the_one_that_the_log_would_keep() -> None:
    rows = [{"step": s, "val_loss": v} for s, v in ((10, 3.0), (20, 1.0), (30, 2.0))]
    held_out = [{"step": s, "test": t} for s, t in ((9, 5.0), (19, 4.0), (29, 3.0))]
    assert interventions.at_best_checkpoint({"rows": rows, "held_out": held_out}) == 4.0


@pytest.mark.parametrize("first", frozen.FROZEN)
def test_the_frozen_lists_of_held_out_runs_are_as_they_were(first: int) -> None:
    path, wanted = frozen.FROZEN[first]
    assert frozen.digest(path.read_text()) == wanted


def test_every_held_out_part_is_frozen() -> None:
    assert tuple(frozen.FROZEN) == corpus.HELD_OUT_PARTS
    assert frozen.SHA256 == "973cf52e3760d68731d37eb5dea640d8f6582fac317ad75a64495a2bd7f374fa"


@pytest.mark.slow
@pytest.mark.parametrize("first", frozen.FROZEN)
def test_the_code_still_draws_the_frozen_runs(first: int) -> None:
    assert "\n".join(frozen.lines(first)) + "\n" == frozen.FROZEN[first][0].read_text()


def test_an_evaluation_is_appended_to_the_log(tmp_path: Path) -> None:
    log = tmp_path / "log.tsv"
    frozen.note("ten faults", {"healthy": 10, "false_alarms": 0}, log)
    frozen.note("held-out half", {"sick": 5}, log)
    lines = [line.split("\t") for line in log.read_text().splitlines()]
    assert [line[5] for line in lines] == ["table", "ten faults", "held-out half"]
    assert {len(line) for line in lines} == {len(frozen.COLUMNS)}
    with pytest.raises(ValueError, match="no column luck"):
        frozen.note("ten faults", {"luck": 1}, log)


def test_every_line_of_the_log_is_whole() -> None:
    lines = frozen.LOG.read_text().splitlines()
    assert lines[0].split("\t") == frozen.COLUMNS
    assert all(line.count("\t") == len(frozen.COLUMNS) - 1 for line in lines)


def test_quick_tasks_are_all_there() -> None:
    assert sorted(interventions.QUICK_FIRST) == sorted(tasks.FIRST)
