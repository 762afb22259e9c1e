"""Parts of the corpus: what was trained is drawn as it was, what is held out shares nothing with the rest."""

from __future__ import annotations

import hashlib
from collections import Counter
from itertools import islice

import pytest

pytest.importorskip("torch")
pytest.importorskip("sklearn")

from benchmarks.clinic import draws, faults, other_tasks
from benchmarks.clinic.draws import HELD_OUT, MORE_FAULTS, OTHER_TASKS, PARTS


def hash_of(keys: list[str]) -> str:
    return hashlib.sha256("".join(keys).encode()).hexdigest()[:16]


def test_the_first_runs_are_drawn_as_they_were_when_they_were_trained() -> None:
    assert hash_of([draws.healthy_config(i).key() for i in range(270)]) == "b82d4ad9fa11271c"
    assert hash_of([draws.healthy_config(i).key() for i in range(HELD_OUT, HELD_OUT + 120)]) == "25fa258cdfa1cc33"


@pytest.mark.parametrize(("first", "wanted"), [(0, "7c6c8e863f1a8992"), (HELD_OUT, "90728d10ae50d09f")])
def test_their_faults_are_too(first: int, wanted: str) -> None:
    drawn = [c for i in range(27) for c in islice(draws.candidates(first + i), 3)]
    assert hash_of([s.key() + t.key() for s, t in drawn]) == wanted


def test_the_held_out_tasks_share_no_task_with_what_is_tuned_on() -> None:
    assert set(PARTS[OTHER_TASKS].tasks) == set(other_tasks.OTHER)
    for first in (0, HELD_OUT, MORE_FAULTS):
        assert not set(PARTS[first].tasks) & set(PARTS[OTHER_TASKS].tasks)
    assert len(other_tasks.OTHER) >= 9


def test_every_fault_of_a_part_comes_at_least_three_times() -> None:
    for first, part in PARTS.items():
        turns = Counter(draws.fault_of(i).name for i in range(first, first + part.sick))
        assert set(turns) == {f.name for f in part.faults}
        assert min(turns.values()) >= 3
        assert all(draws.fault_of(i).name == f for f in turns for i in draws.indices_of(f, first))
    assert PARTS[OTHER_TASKS].faults == faults.ALL


@pytest.mark.parametrize("first", [MORE_FAULTS, OTHER_TASKS])
def test_every_fault_finds_twins_and_keeps_their_logger(first: int) -> None:
    for i in range(first, first + len(PARTS[first].faults)):
        pairs = list(islice(draws.candidates(i), 3))
        assert pairs, draws.fault_of(i).name
        for sick, twin in pairs:
            assert twin.fault == "healthy"
            assert (sick.task, sick.seed, sick.fault) == (twin.task, twin.seed, draws.fault_of(i).name)
            assert (sick.log_lr, sick.log_accuracy) == (twin.log_lr, twin.log_accuracy)


def test_a_share_of_the_later_runs_logs_everything() -> None:
    drawn = [draws.healthy_config(i) for i in range(OTHER_TASKS, OTHER_TASKS + 60)]
    full = sum(c == draws.fully_logged(c) for c in drawn)
    assert 12 <= full <= 45
    lean = next(c for c in drawn if not c.log_grad_norm)
    assert (
        draws.fully_logged(lean).change(log_lr=lean.log_lr, log_grad_norm=False, log_accuracy=lean.log_accuracy) == lean
    )
