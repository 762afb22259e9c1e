from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from lossdoctor.lab.experiments.trained import data
from lossdoctor.lab.experiments.trained.data import Data

MAKERS = {
    "spirals": data.spirals,
    "teacher": data.teacher,
    "houses": data.houses,
    "digits": data.digits,
    "adding": data.adding,
    "characters": data.characters,
}


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_a_seed_fixes_the_data(make: Callable[..., Data]) -> None:
    a, b, other = make(40, 20, seed=1), make(40, 20, seed=1), make(40, 20, seed=2)
    assert torch.equal(a.x, b.x)
    assert torch.equal(a.y_val, b.y_val)
    assert not torch.equal(a.x, other.x)
    assert len(a) == 40
    assert len(a.x_val) == len(a.y_val) == 20
    assert a.x.isfinite().all()
    if a.classes:
        assert int(a.y.max()) < a.classes


def test_the_answer_to_the_adding_problem_is_the_sum_of_the_marked_numbers() -> None:
    d = data.adding(200, 2000, length=12)
    assert torch.allclose((d.x[..., 0] * d.x[..., 1]).sum(dim=1), d.y[:, 0], atol=1e-6)
    assert (d.x[..., 1].sum(dim=1) == 2).all()
    assert float(((d.y_val - 1) ** 2).mean()) == pytest.approx(1 / 6, rel=0.1)


def test_digits_light_as_many_pixels_as_their_segments_say() -> None:
    clean = data.digits(2000, 10, noise=0.0)
    lit = [float(clean.x[clean.y == k].gt(0.3).float().sum(dim=(1, 2, 3)).mean()) for k in range(10)]
    assert min(lit) == lit[1]
    assert max(lit) == lit[8]


def test_standardised_uses_the_training_part_only() -> None:
    raw = data.houses(300, 50)
    scaled = data.standardised(raw)
    assert torch.allclose(scaled.x.mean(dim=0), torch.zeros(4), atol=1e-4)
    assert torch.allclose(scaled.x.std(dim=0), torch.ones(4), atol=1e-4)
    expected = (raw.x_val - raw.x.mean(dim=0)) / raw.x.std(dim=0)
    assert torch.allclose(scaled.x_val, expected)
    assert scaled.x_val.mean(dim=0).abs().max() > 1e-3


def test_the_teacher_has_the_noise_it_says() -> None:
    noisy, clean = data.teacher(5000, 10, noise=0.5), data.teacher(5000, 10, noise=0.0)
    assert float((noisy.y - clean.y).std()) == pytest.approx(0.5, rel=0.05)
    assert float(clean.y.std()) == pytest.approx(1.0, rel=0.05)
