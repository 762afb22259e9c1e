"""Numbers of docs/errata.md that come from the lab, and the statements there that have no experiment of their own."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from lossdoctor import TrainingHistory
from lossdoctor.lab import experiments
from lossdoctor.lab.result import Experiment

ROOT = Path(__file__).parents[3]
TEXT = " ".join((ROOT / "docs" / "errata.md").read_text("utf-8").split())


def says(*words: str) -> None:
    for word in words:
        assert word.replace("-", "−") in TEXT or word in TEXT, word


@cache
def ran(name: str) -> Experiment:
    return experiments.run(name)


def test_every_section_says_what_is_written_what_is_true_and_how_it_was_checked() -> None:
    sections = re.split(r"\n### ", (ROOT / "docs" / "errata.md").read_text("utf-8"))[1:]
    assert len(sections) >= 25
    for section in sections:
        for part in ("**Written:**", "**True:**", "**Checked:**"):
            assert part in section, section.splitlines()[0]


def test_named_experiments_and_tests_exist() -> None:
    named = re.findall(r"`lossdoctor lab run ([a-z]\w*)`((?:, `[a-z]\w*`)*)", TEXT)
    assert len(named) >= 15
    for name, more in named:
        for word in (name, *re.findall(r"\w+", more)):
            assert experiments.get(word).name == word
    tests = "\n".join(
        p.read_text("utf-8") for p in [ROOT / "tests" / "test_errata.py", *Path(__file__).parent.glob("*.py")]
    )
    for name in re.findall(r"`(test_\w+)`", TEXT):
        assert f"def {name}(" in tests, name


def test_saddle_and_optimizer_numbers() -> None:
    numbers = ran("saddle").numbers
    says(f"after {numbers['steps to leave, plain with noise']:.0f} steps")
    beside = [f"{numbers[f'steps to leave, {n} beside it']:.0f}" for n in ("plain", "momentum", "Adam")]
    says(f"after {beside[0]}, {beside[1]} and {beside[2]} steps")
    numbers = ran("optimizers").numbers
    says(f"stays below only from step {numbers['steps to stay below, Adam']:.0f}")
    says(f"{numbers['final loss, SGD+Momentum']:.3f}")
    assert min(numbers["steps uphill, Adam"], numbers["steps uphill, SGD+Momentum"]) >= 20
    says(f"critical rate measured: {ran('momentum').numbers['critical rate, measured']:.4f} of 1.9")


def test_rate_numbers() -> None:
    numbers = ran("lr_range_test").numbers
    says(
        f"critical rate {numbers['critical rate']:.2f}", f"steepest slope is at {numbers['steepest descent']:.3f}",
        f"least loss at {numbers['minimum of the loss']:.2f}",
        f"exploding rate is {numbers['a tenth of the rate where it explodes']:.2f}", "here at 1.2e-7",
    )  # fmt: skip
    assert numbers["largest drop between neighbours"] == pytest.approx(1.2e-7, rel=0.05)
    numbers = ran("house_prices").numbers
    says(
        f"price = {numbers['w after the last step']:.4f}·size + {numbers['b after the last step']:.2f}",
        f"{numbers['least squares w']:.3f}·size + {numbers['least squares b']:.0f}",
        f"its loss {numbers['least squares loss']:.0f} and not {numbers['loss after the last step']:.2f}",
        f"in {numbers['scaled: steps to within 1 % of the least loss']:.0f} steps", "2.22e-7", "4.5e7 steps",
    )  # fmt: skip
    assert numbers["critical rate, raw"] == pytest.approx(2.22e-7, rel=0.002)
    assert numbers["steps in which the offset covers 63 % of its way"] == pytest.approx(4.5e7, rel=0.001)
    numbers = ran("adam_first_steps").numbers
    says(f"{numbers['law, uncorrected']:.3f} times the rate", f"{numbers['largest update, uncorrected']:.1f} times")
    assert 1 / numbers["late update, noisy"] == pytest.approx(4, abs=0.5)


def test_schedule_numbers() -> None:
    numbers = ran("schedules").numbers
    says(f"{numbers['floor, law']:.3f} at a rate of 0.3", f"{numbers['floor at a tenth, law']:.3f} at 0.03")
    measured = numbers["floor, measured"], numbers["floor at a tenth, measured"]
    says(f"measured: {measured[0]:.3f} and {measured[1]:.3f}")


def test_warmup_only_delays() -> None:
    first = {row[0]: row[3] for row in ran("schedules").tables[0].rows}
    says(f"at step {first['warmup_cosine']}, without it at step {first['cosine']}")
    assert first["warmup_cosine"] > first["cosine"]


def test_batch_numbers() -> None:
    numbers = ran("batch_variants").numbers
    says(
        f"{numbers['as printed: batch']:.3f} (batch", f"{numbers['as printed: stochastic']:.4f} (stochastic",
        f"{numbers['as printed: mini-batch']:.4f} (mini-batch",
        f"{numbers['as printed: mini-batch']:.7f} instead of {numbers['as printed: mini-batch, averaged by row']:.7f}",
    )  # fmt: skip
    numbers = ran("mini_batch").numbers
    says(f"needs {numbers['epochs, full batch']:.0f} epochs")
    says(f"exponent measured: {ran('gradient_noise').numbers['exponent']:.2f}")
    numbers = ran("linear_scaling").numbers
    says(
        f"up to k = {numbers['largest k that linear scaling keeps']:.0f} and diverges at k = "
        f"{numbers['first k that diverges']:.0f}, where the rate passes {numbers['critical rate']:.2f}"
    )
    assert int(3.2e6 / 2048) == 1562


def test_he_and_kaiming_are_one() -> None:
    import torch

    generator = torch.Generator().manual_seed(0)
    he = torch.nn.init.kaiming_normal_(torch.empty(2000, 500), generator=generator)
    xavier = torch.nn.init.xavier_normal_(torch.empty(2000, 2000), generator=generator)
    assert float(he.std()) == pytest.approx(np.sqrt(2 / 500), rel=0.01)
    assert float(xavier.std()) ** 2 * 2 == pytest.approx(2 / 2000, rel=0.02)


def by_quarters(train: np.ndarray, val: np.ndarray) -> bool:
    n = len(val)
    fell = np.mean(train[-n // 4 :]) < np.mean(train[: n // 4])
    return bool(fell and np.mean(val[-n // 4 :]) > np.mean(val[: n // 4]))


def test_overfitting_by_quarters_misses_it() -> None:
    rng = np.random.default_rng(0)
    n = 120
    train = 2 * np.exp(-np.arange(n) / 15) + 0.05 + rng.normal(0, 0.01, n)
    val = np.interp(np.arange(n), [0, 40, n], [2.0, 0.5, 1.0]) + rng.normal(0, 0.01, n)
    assert not by_quarters(train, val)
    run = TrainingHistory(loss=list(train), val_loss=list(val))
    assert "OVERFITTING" in run.diagnose()["issues"]
    assert len(np.arange(21)[-21 // 4 :]) == len(np.arange(21)[: 21 // 4]) + 1


def test_an_explosion_before_its_nan() -> None:
    losses = [2.0**i for i in range(40)]
    assert np.isfinite(losses[-5:]).all()
    assert TrainingHistory(loss=losses).diagnose().status == "critical"
