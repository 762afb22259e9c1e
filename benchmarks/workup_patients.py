"""Runs of the clinic as patients: the faulty model, its data, its loss and its optimizer, as they were at the end.

Every test of the menu is run once on each and what it said is kept in ``benchmarks/.cache/workup``, since a test
changes nothing and says the same whichever was run before it. Work-ups are then played from what is kept.
"""

from __future__ import annotations

import copy
import json
import os
import time
import warnings
from collections.abc import Collection, Iterable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.clinic import corpus, tasks
from benchmarks.clinic.causes import CAUSES
from benchmarks.clinic.config import Config
from benchmarks.clinic.train import Loop, loop_of
from lossdoctor.core.diagnosis import Diagnosis
from lossdoctor.core.history import TrainingHistory
from lossdoctor.probes.result import ProbeResult
from lossdoctor.workup.menu import MENU, Patient, Test

CACHE = Path(__file__).parent / ".cache" / "workup"
# Faults that lie in some batches of the data, so that who looks at the data may meet them.
_IN_BATCHES = ("nan_in_data", "inf_in_data", "spikes_recovering", "spike_unrecovered")
_IN_LOSS = ("wrong_reduction", "masked_labels")
SLOW = ("language", "adversarial")  # a run takes ten seconds, or is of two models
# The one with batch normalisation is slow too: it is tested only for what needs that.
_CONVOLUTIONS = "digits_cnn"
_OF_MODES = ("batchnorm_stale", "validated_in_train_mode", "trained_in_eval_mode")


@dataclass(frozen=True)
class Case:
    """A run of known cause.

    Attributes:
        config: what was trained.
        causes: right answers, the most exact first; ``("normal",)`` for a healthy run.
        first: the part of the corpus that it is of.
    """

    config: Config
    causes: tuple[str, ...]
    first: int

    @property
    def task(self) -> str:
        return self.config.task

    @property
    def path(self) -> Path:
        return CACHE / f"{self.config.key()}.json"

    def history(self) -> TrainingHistory:
        """The run as its log shows it."""
        return corpus.restored(corpus.load(self.config)).history


def cases(first: int, sick: int, healthy: int) -> list[Case]:
    """Cached runs of a part whose fault did visible harm, spread over all faults, and healthy runs."""
    found: dict[str, list[Case]] = {}
    for index in range(first, first + corpus.SIZES[first][1]):
        drawn = corpus.sick_config(index, ready=corpus.is_cached)
        if drawn is None or not corpus.is_cached(drawn[0]) or _slow(drawn[0]):
            continue
        row = corpus.index_row(corpus.load(drawn[0]), corpus.load(drawn[1]))
        if row["visible"]:
            fault = drawn[0].fault
            found.setdefault(fault, []).append(Case(drawn[0], CAUSES[fault], first))
    turns = [runs[turn] for turn in range(max(map(len, found.values()))) for runs in found.values() if turn < len(runs)]
    well: list[Case] = []
    for index in range(first, first + corpus.SIZES[first][0]):
        config = corpus.healthy_config(index)
        if (
            len(well) < healthy
            and corpus.is_cached(config)
            and not _slow(config)
            and not corpus.load(config)["truth"]["flaw"]
        ):
            well.append(Case(config, ("normal",), first))
    return turns[:sick] + well


def _slow(config: Config) -> bool:
    of_modes = config.fault in _OF_MODES
    return tasks.SPECS[config.task].kind in SLOW or (config.task == _CONVOLUTIONS and not of_modes)


class _Spoiled:
    """The training batches of one pass, with the bad ones where the run met them first."""

    def __init__(self, loop: Loop) -> None:
        self.loop = loop
        at = min(int(v) for k, v in loop.config.params if k.startswith("at"))
        self.first = (at - 1) // loop.steps_per_epoch * loop.steps_per_epoch

    def __len__(self) -> int:
        return self.loop.steps_per_epoch

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for number, (x, y) in enumerate(self.loop.task.train_loader, 1):
            self.loop.step = self.first + number
            yield self.loop.fault.batch(self.loop, x, y)


def patient(case: Case) -> Patient:
    """Train the run again and give what is left: at its end, or at its start where the end is NaN."""
    torch.manual_seed(case.config.seed)
    loop = loop_of(case.config)
    start = copy.deepcopy(loop.task.model.state_dict())
    loop.run()
    model = loop.task.model
    lost = not all(p.isfinite().all() for p in model.parameters())
    if lost:
        model.load_state_dict(start)
        loop.renew_optimizer()
    loss_fn = loop.task.loss_fn
    if case.config.fault in _IN_LOSS:
        loss_fn = partial(_faulty_loss, loop)
    loader: Iterable[Any] = _Spoiled(loop) if case.config.fault in _IN_BATCHES else loop.task.train_loader
    return Patient(
        model,
        loss_fn,
        loader,
        diagnosis(case),
        loop.task.val_loader,
        loop.optimizer,
        reset=False if lost else partial(_restart, start),
    )


def diagnosis(case: Case) -> Diagnosis:
    return case.history().diagnose()


def _faulty_loss(loop: Loop, output: Tensor, target: Tensor) -> Tensor:
    return loop.fault.loss(loop, loop.task.loss_fn(output, target))


def _restart(start: dict[str, Tensor], model: nn.Module) -> None:
    model.load_state_dict(start)


def said(case: Case, again: Collection[str] = (), menu: Iterable[Test] = MENU) -> dict[str, dict[str, Any]]:
    """What every test of the menu says of a case; those that are not kept yet, or asked again, are run."""
    kept: dict[str, dict[str, Any]] = json.loads(case.path.read_text()) if case.path.exists() else {}
    wanted = [t for t in menu if t.name not in kept or t.name in again]
    if not wanted:
        return kept
    torch.set_flush_denormal(True)
    with torch.random.fork_rng(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        subject = patient(case)
        for test in wanted:
            kept[test.name] = _asked(test, subject)
    case.path.parent.mkdir(parents=True, exist_ok=True)
    part = case.path.with_suffix(f".{os.getpid()}.part")
    part.write_text(json.dumps(kept))
    part.replace(case.path)
    return kept


def _asked(test: Test, subject: Patient) -> dict[str, Any]:
    started = time.process_time()
    try:
        result = test.run(subject)
    except Exception as error:  # it counts as a test that failed, as in a work-up
        return {"error": f"{type(error).__name__}: {error}", "seconds": time.process_time() - started}
    return {
        "outcome": result.outcome,
        "verdict": result.verdict,
        "causes": dict(result.causes),
        "steps": result.steps,
        "seconds": time.process_time() - started,
        "measurements": [asdict(m) for m in result.measurements],
    }


def replayed(kept: dict[str, dict[str, Any]], menu: Iterable[Test] = MENU) -> list[Test]:
    """The menu, answering from what is kept."""
    return [Test(t.name, partial(_answer, kept[t.name]), t.cost, t.needs, t.made_for) for t in menu if t.name in kept]


def _answer(entry: dict[str, Any], _patient: Patient) -> ProbeResult:
    if "error" in entry:
        raise RuntimeError(entry["error"])
    return result_of(entry)


def result_of(entry: dict[str, Any]) -> ProbeResult:
    """The part of a result that is kept."""
    kept = {name: entry[name] for name in ("outcome", "verdict", "causes", "steps")}
    return ProbeResult(**kept)
