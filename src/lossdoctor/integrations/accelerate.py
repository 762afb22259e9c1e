"""Hugging Face Accelerate: a tracker.

>>> from lossdoctor.integrations.accelerate import LossDoctorTracker  # doctest: +SKIP
>>> accelerator = Accelerator(log_with=LossDoctorTracker(name="mnist"))  # doctest: +SKIP
>>> accelerator.init_trackers("project", config={"learning_rate": 1e-3})  # doctest: +SKIP
>>> accelerator.log({"loss": loss}, step=step)  # doctest: +SKIP
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lossdoctor.integrations._link import Link, agreed, framework, hook

_tracking = framework("accelerate.tracking", extra="accelerate")
GeneralTracker: Any = _tracking.GeneralTracker
on_main_process = _tracking.on_main_process


class LossDoctorTracker(GeneralTracker):
    """Records what ``accelerator.log`` is given, on the main process, and judges it while the run trains.

    A loop ends itself: ``if tracker.should_stop: break``, asked by every process at the same step.

    Args:
        monitor: a ready Monitor, which ``accelerator.end_training()`` leaves open; or None.
        options: else, keyword arguments of Monitor: ``run_dir``, ``name``, ``actions``, ….
    """

    name = "lossdoctor"
    requires_logging_directory = False
    main_process_only = True

    def __init__(self, monitor: Any = None, **options: Any) -> None:
        super().__init__()
        self.link = Link("LossDoctorTracker", monitor, options)
        self._step = 0

    @property
    def tracker(self) -> Any:
        """The monitor, which ``accelerator.get_tracker("lossdoctor", unwrap=True)`` gives."""
        return self.link.monitor

    @property
    def monitor(self) -> Any:
        """The same; None before ``init_trackers`` and on other processes than the main one."""
        return self.link.monitor

    @property
    def should_stop(self) -> bool:
        """Whether an action asked for the end of training. A collective call where there are several processes."""
        return agreed(self.link.should_stop)

    @on_main_process
    @hook
    def store_init_configuration(self, values: Mapping[str, Any]) -> None:
        """The run begins: what ``init_trackers`` was given becomes its config."""
        self.link.open(self, values)

    @on_main_process
    @hook
    def watch(self, model: Any, optimizer: Any = None, **more: Any) -> None:
        """Watch a model and its optimizer, prepared or not; see ``Monitor.watch``."""
        self._open()
        self.link.watch(model, optimizer, **more)

    @on_main_process
    @hook
    def log(self, values: Mapping[str, Any], step: int | None = None, **ignored: Any) -> None:
        """One row; ``step`` defaults to one more than the last."""
        self._open()
        self._step = self._step + 1 if step is None else int(step)
        self.link.log(self._step, {k: v for k, v in values.items() if not isinstance(v, str)})

    def _open(self) -> None:
        """``init_trackers`` without a config does not say that the run begins."""
        if self.link.monitor is None:
            self.link.open(self)

    @on_main_process
    @hook
    def finish(self) -> None:
        """``accelerator.end_training()``."""
        self.link.close()
