"""The monitor among threads, forks and ranks, and values that are still on a GPU."""

from __future__ import annotations

import copy
import multiprocessing
import os
import pickle
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

import lossdoctor
from lossdoctor.live import Monitor
from tests.live.runs import descend, read

# threads, forks, ranks


def test_rows_of_several_threads_are_all_there(tmp_path: Path) -> None:
    with Monitor(tmp_path / "run") as monitor:

        def work(k: int) -> None:
            for step in range(300):
                monitor.log(step, **{f"loss{k}": float(step)})

        threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    history = read(tmp_path / "run")
    assert not history.notes
    for k in range(4):
        assert history[f"loss{k}"].values.tolist() == list(range(300))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_worker_writes_nothing(tmp_path: Path) -> None:
    with Monitor(tmp_path / "run") as monitor:
        descend(monitor, range(10))
        forked = multiprocessing.get_context("fork").Process(target=_in_worker, args=(monitor,))
        forked.start()
        forked.join(30)
        assert forked.exitcode == 0
        descend(monitor, range(10, 20))
    history = read(tmp_path / "run")
    assert history["loss"].steps.tolist() == list(range(20))
    assert [e["kind"] for e in history.events] == ["finished"]


def _in_worker(monitor: Monitor) -> None:
    monitor.log(999, loss=1.0)
    monitor.event("stopped", "by a worker")
    monitor.finish()


def test_copies_are_the_monitor_itself_and_pickles_are_silent(tmp_path: Path) -> None:
    with Monitor(tmp_path / "run") as monitor:
        assert copy.deepcopy({"trainer": monitor})["trainer"] is monitor
        assert copy.copy(monitor) is monitor
        away = pickle.loads(pickle.dumps(monitor))
        away.log(0, loss=1.0)
        assert away.run_dir is None
    assert not read(tmp_path / "run").curves


def test_only_rank_0_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with Monitor(tmp_path / "run") as monitor:
        monitor.log(0, loss=1.0)
        monitor.event("skipped_step", "x")
        assert monitor.before_step(None)
    assert not (tmp_path / "run").exists()
    assert (monitor.rank, monitor.run_dir, monitor.events) == (1, None, [])


def test_every_rank_has_a_folder_of_its_own_when_asked(tmp_path: Path) -> None:
    for rank in range(2):
        with Monitor(tmp_path / "run", rank=rank, every_rank=True) as monitor:
            for step in range(30):
                monitor.log(step, loss=float(np.sin(step + rank)))
    for rank, folder in enumerate((tmp_path / "run", tmp_path / "run" / "rank1")):
        (events,) = folder.glob("events*")
        assert read(events)["loss"].values[0] == np.sin(rank)
    assert len(lossdoctor.read(str(tmp_path / "run"))) == 2


@pytest.mark.slow
def test_a_process_group_made_after_the_monitor_counts(tmp_path: Path) -> None:
    code = """
import sys, lossdoctor, torch.distributed as dist
rank = int(sys.argv[1])
monitor = lossdoctor.Monitor(name="late")
dist.init_process_group("gloo", init_method="file://" + sys.argv[2], rank=rank, world_size=2)
for step in range(10):
    monitor.log(step, loss=1.0 + rank)
dist.barrier()
monitor.finish()
dist.destroy_process_group()
"""
    meet = str(tmp_path / "meet")
    started = [subprocess.Popen([sys.executable, "-c", code, str(rank), meet]) for rank in range(2)]
    assert [p.wait(120) for p in started] == [0, 0]
    (folder,) = (tmp_path / "runs").iterdir()
    assert read(folder)["loss"].values.tolist() == [1.0] * 10


# values on their way


class OnItsWay:
    """Stands for a tensor on a GPU: its number is there when somebody says so."""

    def __init__(self, value: float) -> None:
        self.value, self.here, self.waited = value, False, False

    def ready(self) -> bool:
        return self.here

    def result(self) -> float:
        self.waited = not self.here
        return self.value


def test_rows_from_a_gpu_are_kept_in_order_when_they_arrive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from lossdoctor.live.recording import values

    monkeypatch.setattr(values, "_from_device", lambda v: v if isinstance(v, OnItsWay) else None)
    losses = [OnItsWay(float(k)) for k in range(6)]
    monitor = Monitor(tmp_path / "run")

    def stored() -> list[int]:
        return read(tmp_path / "run")["loss"].values.tolist() if monitor.step is not None else []  # type: ignore[no-any-return]

    monitor.log(0, loss=losses[0])
    monitor.log(1, loss=losses[1], epoch=0)
    monitor.log(2, loss=2.0)
    losses[1].here = True
    monitor.log(3, loss=losses[3])
    assert not read(tmp_path / "run").curves, "the first is not here: nothing overtakes it"
    losses[0].here = True
    monitor.log(4, loss=losses[4])
    assert stored() == [0, 1, 2]
    assert not any(x.waited for x in losses)
    monitor.finish()
    assert stored() == [0, 1, 2, 3, 4]
    assert [x.waited for x in losses] == [False, False, False, True, True, False]


def test_a_gpu_that_fails_costs_its_values_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from lossdoctor.live.recording import values

    class Lost(OnItsWay):
        def ready(self) -> bool:
            raise RuntimeError("device-side assert")

        result = ready  # type: ignore[assignment]

    monkeypatch.setattr(values, "_from_device", lambda v: v if isinstance(v, OnItsWay) else None)
    with Monitor(tmp_path / "run") as monitor:
        monitor.log(0, loss=Lost(0.0), epoch=3)
        monitor.log(1, loss=Lost(0.0))
        monitor.log(2, loss=2.0)
    history = read(tmp_path / "run")
    assert (history["loss"].steps.tolist(), history["epoch"].steps.tolist()) == ([2], [0])


def test_a_tensor_on_a_gpu_is_copied_behind_what_is_queued() -> None:
    """No GPU here: an object that says it is on one, and whose copy is a tensor of the CPU."""
    import torch

    from lossdoctor.live.recording.values import number

    class OnGpu:
        is_cuda = True

        def numel(self) -> int:
            return 1

        def detach(self) -> OnGpu:
            return self

        def reshape(self, *_: int) -> torch.Tensor:
            return torch.tensor([0.1], dtype=torch.bfloat16)

    arriving = number(OnGpu())
    assert not isinstance(arriving, float)
    assert arriving.ready()
    assert arriving.result() == float(torch.tensor(0.1, dtype=torch.bfloat16))


@pytest.mark.gpu
def test_losses_on_a_real_gpu(tmp_path: Path) -> None:
    import torch

    weight = torch.ones(1000, 1000, device="cuda", requires_grad=True)
    expected = []
    with Monitor(tmp_path / "run") as monitor:
        for step in range(50):
            loss = (weight * (step + 1)).mean()
            monitor.log(step, loss=loss, learning_rate=0.1)
            expected.append(loss.detach())
    assert read(tmp_path / "run")["loss"].values.tolist() == [float(x) for x in expected]


def test_a_gpu_that_never_delivers_does_not_fill_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from lossdoctor.live.recording import values

    monkeypatch.setattr(values, "_from_device", lambda v: v if isinstance(v, OnItsWay) else None)
    with Monitor(tmp_path / "run") as monitor:
        for step in range(1500):
            monitor.log(step, loss=OnItsWay(float(step)))
        assert len(monitor._waiting) <= 1000
    assert read(tmp_path / "run")["loss"].values.tolist() == list(range(1500))


def test_importing_it_stays_light() -> None:
    heavy = ("torch", "matplotlib", "scipy", "rich", "orjson")
    code = f"import lossdoctor, sys; lossdoctor.Monitor; print([m for m in {heavy} if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout == "[]\n"
