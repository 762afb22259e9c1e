"""Stop when the validation no longer improves, and go back to the best weights."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from lossdoctor.core.errors import UsageError, nearest
from lossdoctor.core.numbers import short
from lossdoctor.live.actions.base import LiveAction
from lossdoctor.live.actions.following import Followed, Once, is_maximised
from lossdoctor.live.actions.gradients import as_module
from lossdoctor.live.actions.improvement import Improvement
from lossdoctor.live.actions.together import is_sharded
from lossdoctor.live.guard import described
from lossdoctor.live.rows import LiveEvent, Row

if TYPE_CHECKING:
    from lossdoctor.live.monitor import Monitor
    from lossdoctor.torchkit.snapshot import Snapshot

MODES = ("auto", "min", "max")


class EarlyStopping(LiveAction):
    """Stops when the validation loss has stopped improving beyond its own noise, and restores the best weights.

    There is no patience to choose: a rise is believed when it is beyond the run's own noise, a flat curve when it has
    been flat for half of the evaluations (see :class:`~lossdoctor.live.actions.improvement.Improvement`). A single
    lucky evaluation is not taken for the best model: *best* is the lowest running mean in which the newest evaluation
    weighs 70 %.

    The weights (parameters and buffers) are kept when an evaluation is logged, as they are then: log the validation
    loss as a number before the next optimizer step. They are put back when the action stops the run, and at its end
    where it was not stopped (also after Ctrl-C, not after a crash). Optimizer and random generators are left as they
    are. Weights that are spread over processes (FSDP) are not restored, which is said once.

    Args:
        metric: name of the metric to follow; the validation loss by default.
        mode: ``"min"``, ``"max"``, or by the metric's name (``"auto"``: accuracies and scores are maximised).
        min_evaluations: evaluations before which the run is never stopped.
        z: how many standard errors a rise must have to be believed.
        restore: put the best weights back. Needs ``monitor.watch(model, optimizer)``.
        folder: keep the best weights in ``<folder>/best.pt`` and not in memory;
            :meth:`lossdoctor.torchkit.snapshot.Snapshot.load` reads them.
        device: where the copy in memory lives; where the model does by default (``"cpu"`` spares a GPU's memory).

    Attributes:
        best_step: step of the best evaluation, or None.
        best_value: the metric there.

    Raises:
        UsageError: an unknown mode, or numbers out of range.
    """

    def __init__(
        self,
        metric: str | None = None,
        *,
        mode: str = "auto",
        min_evaluations: int = 8,
        z: float = 2.5,
        restore: bool = True,
        folder: str | Path | None = None,
        device: str | None = None,
    ) -> None:
        if mode not in MODES:
            raise UsageError(f"mode is one of {', '.join(MODES)}, got {mode!r}{nearest(str(mode), MODES)}")
        if min_evaluations < 2 or not z > 0:
            raise UsageError(
                f"EarlyStopping needs min_evaluations of at least 2 and z above 0, got {min_evaluations!r} and {z!r}"
            )
        self.mode = mode
        self.restore = restore
        self.folder = None if folder is None else Path(folder)
        self.device = device
        self.best_step: int | None = None
        self.best_value: float | None = None
        self._followed = Followed("val_loss", metric)
        self._curve = Improvement(z=z, least=min_evaluations)
        self._kept: Any = None
        self._done = False
        self._crashed = False
        self._once = Once()

    def on_row(self, monitor: Monitor, row: Row) -> None:
        value = self._followed.value(monitor, row.values)
        if value is None or self._done:
            return
        judged = self._curve.add(-value if self._maximised() else value)
        if judged.best:
            self.best_step, self.best_value = row.step, value
            self._keep(monitor, row.step)
        if judged.stop:
            self._end(monitor, judged.stop, judged.details or {})

    def on_event(self, monitor: Monitor, event: LiveEvent) -> None:  # noqa: ARG002
        self._crashed = self._crashed or event.kind == "crashed"

    def finish(self, monitor: Monitor) -> None:
        if not self._done and not self._crashed:
            self._put_back(monitor)
        self._done = True

    def _maximised(self) -> bool:
        return self.mode == "max" or (self.mode == "auto" and is_maximised(self._followed.names[0]))

    def _keep(self, monitor: Monitor, step: int) -> None:
        if not self.restore:
            return
        if monitor.model is None:
            self._once.warn(
                "EarlyStopping has no model whose best weights it could keep: call monitor.watch(model, optimizer) "
                "before training, or give EarlyStopping(restore=False)"
            )
            return
        from lossdoctor.torchkit.snapshot import Snapshot

        model = as_module(monitor.model)
        if is_sharded(model):
            self._once.warn("EarlyStopping does not put back weights that are spread over processes; it only stops")
            return
        kept = Snapshot.take(model, step=step, rng=False, device=self.device)
        self._kept = self._on_disk(kept) if self.folder is not None else kept

    def _on_disk(self, kept: Snapshot) -> Path | Snapshot:
        """Its file, or where that cannot be written the state itself."""
        assert self.folder is not None
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            kept.save(self.folder / "best.pt")
        except (OSError, RuntimeError) as error:  # what torch.save raises on a full disk
            self._once.warn(f"the best weights stay in memory: {self.folder} cannot hold them ({described(error)})")
            return kept
        return self.folder / "best.pt"

    def _end(self, monitor: Monitor, why: str, details: dict[str, float]) -> None:
        self._done = True
        name = " + ".join(self._followed.names)
        best = "" if self.best_value is None else f"; the best was {short(self.best_value)} at step {self.best_step:,}"
        self._put_back(monitor, **details)
        monitor.stop(f"{name} {why}{best}")

    def _put_back(self, monitor: Monitor, **details: float) -> None:
        if self._kept is None or monitor.model is None:
            return
        from lossdoctor.torchkit.snapshot import Snapshot

        kept = Snapshot.load(self._kept, device=None) if isinstance(self._kept, Path) else self._kept
        kept.restore(as_module(monitor.model))
        if kept.step == monitor.step:  # nothing was trained since
            return
        monitor.event(
            "rolled_back",
            f"the weights are those of step {kept.step:,}, the best validation",
            to_step=kept.step,
            action="EarlyStopping",
            **details,
        )
