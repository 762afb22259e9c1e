"""The clinic's tasks, loggers and faults: they train, they repeat, and faults do what they claim. Needs torch."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("sklearn")

from benchmarks.clinic import faults, tasks  # noqa: E402
from benchmarks.clinic.config import Config, learning_rate_at  # noqa: E402
from benchmarks.clinic.corpus import healthy_config  # noqa: E402
from benchmarks.clinic.train import Run, run, train  # noqa: E402
from benchmarks.clinic.truth import assess, compare  # noqa: E402


def config(task: str = "digits_mlp", steps: int = 60, **changes: object) -> Config:
    """A short healthy run of a task, written down densely."""
    spec = tasks.SPECS[task]
    base = Config(task, lr=spec.lr["adam"], batch_size=spec.batch_size, steps=steps, val_every=15, log_grad_norm=True)
    return base.change(**changes)


def sick(name: str, base: Config, seed: int = 0) -> Run:
    """The run of a fault."""
    return run(faults.get(name).configure(base, np.random.default_rng(seed)))


def losses(made: Run) -> list[float]:
    return [row["loss"] for row in made.rows if "loss" in row]


@pytest.mark.parametrize("name", [n for n in tasks.names() if tasks.SPECS[n].kind != "adversarial"])
def test_the_healthy_default_lowers_the_held_out_loss(name: str) -> None:
    made = run(config(name, steps=60))
    assert made.truth[-1]["test"] < made.initial - 0.1 * abs(made.initial)
    assert all(math.isfinite(v) for row in made.rows for v in row.values())


@pytest.mark.parametrize("name", tasks.names())
def test_a_task_is_the_same_for_the_same_seed_and_another_for_another(name: str) -> None:
    def first(seed: int) -> tuple[float, float]:
        task = tasks.make(name, seed)
        x, _ = next(iter(task.train_loader))
        assert len(x) == task.batch_size
        weights = [float(p.detach().double().abs().sum()) for p in task.model.parameters()]
        return float(x.double().sum()), sum(weights)

    assert first(3) == first(3)
    assert first(3) != first(4)


def test_making_a_task_leaves_the_random_state_alone() -> None:
    torch.manual_seed(5)
    wanted = torch.rand(1)
    torch.manual_seed(5)
    tasks.make("digits_mlp", 1)
    assert torch.equal(torch.rand(1), wanted)


def test_an_unknown_task_optimizer_or_fault_is_named_with_those_there_are() -> None:
    with pytest.raises(ValueError, match=r"no task 'mnist'; there are digits_mlp"):
        tasks.make("mnist")
    with pytest.raises(ValueError, match=r"no optimizer 'lion'; there are sgd"):
        tasks.make("cancer").make_optimizer("lion", 0.1)
    with pytest.raises(ValueError, match=r"no fault 'flu'; there are healthy"):
        faults.get("flu")


def test_parts_do_not_overlap() -> None:
    splits = tasks.make("diabetes", 2).splits
    rows = torch.cat([part[0] for part in splits.parts.values()])
    assert len(torch.unique(rows, dim=0)) == len(rows) == 442


def test_the_same_configuration_gives_the_same_curves_whatever_was_drawn_before() -> None:
    first = run(config(steps=30))
    torch.rand(100)
    assert run(config(steps=30)).rows == first.rows
    assert config().key() != config(seed=1).key()


@pytest.mark.parametrize(
    ("changes", "steps"),
    [
        ({"log_every": 1}, list(range(1, 61))),
        ({"log_every": 10}, list(range(10, 61, 10))),
        ({"log_every": 0, "axis": "step"}, [15, 30, 45, 60]),
        ({"log_every": 0, "axis": "epoch", "log_mean": True, "val_every": 0}, [1, 2, 3, 4]),
    ],
)
def test_loggers_write_at_the_steps_they_promise(changes: dict[str, object], steps: list[int]) -> None:
    history = train(config(**changes))
    curve = history.curve("train_loss")
    assert curve is not None
    assert curve.steps.tolist() == steps
    assert len(history.val_loss) == 4
    assert history.context.classes == 10


def test_a_mean_logger_writes_the_mean_since_the_last_row() -> None:
    each = losses(run(config(steps=20)))
    assert losses(run(config(steps=20, log_every=10, log_mean=True))) == pytest.approx(
        [np.mean(each[:10]), np.mean(each[10:])]
    )


def test_schedules_start_at_the_peak_or_warm_up_to_it() -> None:
    c = config(steps=100, lr=1.0)
    assert [learning_rate_at(c.change(schedule=s), 1) for s in ("constant", "cosine", "linear", "step")] == [1.0] * 4
    warm = c.change(schedule="warmup_cosine", warmup=0.1)
    assert learning_rate_at(warm, 1) < 0.01
    assert learning_rate_at(warm, 11) > 0.9
    assert learning_rate_at(warm, 100) < 0.02
    restarts = [learning_rate_at(c.change(schedule="restarts"), s) for s in range(1, 101)]
    assert sum(b > 2 * a for a, b in pairwise(restarts)) == 2


def test_drawn_healthy_configurations_are_valid_and_varied() -> None:
    drawn = [healthy_config(i) for i in range(60)]
    assert drawn == [healthy_config(i) for i in range(60)]
    assert {c.task for c in drawn} == set(tasks.FIRST)
    assert {c.fault for c in drawn} == {"healthy"}
    assert len({c.schedule for c in drawn}) >= 6
    assert any(c.variant for c in drawn)
    assert any(c.log_every == 0 for c in drawn)


@pytest.mark.parametrize("name", faults.names())
def test_every_fault_fits_a_task_changes_the_run_and_names_real_codes(name: str) -> None:
    fault = faults.get(name)
    assert fault.codes
    assert all(c.startswith("LD") and len(c) == 5 for c in fault.codes)
    rate = {"optimizer": "momentum", "lr": tasks.SPECS["digits_mlp"].lr["momentum"], "schedule": "cosine"}
    elsewhere = {"exploding_rnn": config("seasons_lstm", steps=8), "batchnorm_stale": config("seasons_conv", steps=40)}
    base = elsewhere.get(name, config(steps=40, **rate))
    if "adversarial" in fault.kinds:
        base = config("crescents_gan", steps=40, val_every=-1)
    assert fault.fits(base)
    made = sick(name, base)
    twin = run(base)
    assert made.config.fault == name
    changed = made.rows != twin.rows if name != "stopped_early" else len(made.rows) != len(twin.rows)
    assert changed


def test_a_nan_batch_spoils_every_loss_from_its_onset_on() -> None:
    made = sick("nan_in_data", config())
    at = made.onset
    assert at is not None
    values = np.array(losses(made))
    assert np.isfinite(values[: at - 1]).all()
    assert np.isnan(values[at - 1 :]).all()
    assert compare(made, run(config()))["outcome"] == "nonfinite"


def test_a_huge_rate_overflows() -> None:
    base = config(optimizer="momentum", lr=tasks.SPECS["digits_mlp"].lr["momentum"])
    huge = base.change(lr=base.lr * 1e4)
    assert not assess(run(huge)).finite


@pytest.mark.parametrize("name", ["missing_step", "frozen_parameters"])
def test_what_does_not_train_stays_where_it_was(name: str) -> None:
    made = sick(name, config())
    assert made.truth[-1]["test"] == pytest.approx(made.initial, rel=0.05)
    assert compare(made, run(config()))["outcome"] == "nothing learned"


def test_overfitting_ends_above_its_best_while_training_goes_to_nothing() -> None:
    truth = assess(sick("overfitting", config(steps=300)))
    assert truth.final > 1.05 * truth.best
    assert truth.final_train < 0.05
    assert truth.flaw in ("rose", "not learned")


def test_a_decay_too_early_leaves_the_run_far_above_its_twin() -> None:
    base = config(steps=300)
    effect = compare(sick("decayed_early", base), run(base))
    assert effect["outcome"] == "worse"
    assert effect["worse_drop"] > 0.05


def test_a_resumed_run_steps_back_and_forgets_its_momenta() -> None:
    base = config(steps=80)
    fault = faults.get("resume_no_state").configure(base, np.random.default_rng(0))
    resumed = run(fault.change(params=(("at", 50.0), ("back", 10.0), ("schedule_lost", 0.0))))
    steps = [int(row["step"]) for row in resumed.rows]
    assert steps[:50] == list(range(1, 51))
    assert steps[50] == 41
    assert resumed.onset == 41


def test_shifted_validation_is_worse_than_the_held_out_data() -> None:
    base = config(steps=200)
    made = sick("val_shift", base)
    shown = [row["val_loss"] for row in made.rows if "val_loss" in row][-1]
    assert shown > 1.3 * made.truth[-1]["test"]
    assert made.truth[-1]["test"] == pytest.approx(run(base).truth[-1]["test"], rel=0.5)


def test_a_fine_tuning_starts_low_and_stays_level() -> None:
    made = run(config(steps=40, pretrain=200, lr=1e-5))
    values = losses(made)
    assert values[0] < 0.3 * made.initial
    assert np.mean(values[-10:]) == pytest.approx(np.mean(values[:10]), rel=0.5)
