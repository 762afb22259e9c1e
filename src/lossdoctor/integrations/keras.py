"""Keras 3, on any backend: a callback for ``model.fit``.

>>> from lossdoctor.integrations.keras import LossDoctorCallback  # doctest: +SKIP
>>> model.fit(x, y, validation_data=val, callbacks=[LossDoctorCallback()])  # doctest: +SKIP
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lossdoctor.integrations._link import Link, framework, hook

keras: Any = framework("keras", extra="keras")
Callback: Any = keras.callbacks.Callback


class LossDoctorCallback(Callback):
    """Records the loss of every batch, and every metric at the end of every epoch, on the axis of batches.

    What Keras shows during an epoch is the mean since the epoch's beginning, which hides spikes and draws a staircase;
    the loss of each batch is worked out of it. Sets ``model.stop_training`` where an action asks for the end.

    Args:
        monitor: a ready Monitor, which stays open at the end; or None.
        per_batch: record every batch. False records epochs only; on an accelerator Keras then need not wait for each
            batch's numbers.
        watch: on the torch backend, watch the gradients; see ``Monitor.watch``.
        options: else, keyword arguments of Monitor: ``run_dir``, ``name``, ``actions``, ….

    Attributes:
        monitor: the monitor of the training; None before the first one.
    """

    def __init__(self, monitor: Any = None, *, per_batch: bool = True, watch: bool = True, **options: Any) -> None:
        super().__init__()
        self.link = Link("LossDoctorCallback for Keras", monitor, options)
        self.per_batch, self.watch = per_batch, watch
        if not per_batch:
            # Keras looks whether a callback has the method of its own.
            self.on_train_batch_end = super().on_train_batch_end  # type: ignore[method-assign]
        self._base = 0  # batches before this epoch
        self._done = 0  # batches of this epoch
        self._means: dict[str, float] = {}
        self._readable = True
        self._trackers: dict[str, Any] = {}
        self._sums: dict[str, tuple[float, float]] = {}

    @property
    def monitor(self) -> Any:
        return self.link.monitor

    @hook
    def on_train_begin(self, logs: Mapping[str, float] | None = None) -> None:
        # With JAX the values of all variables are elsewhere until the epoch's end.
        self._readable = keras.config.backend() != "jax"
        means = (m for m in self.model.metrics if isinstance(m, keras.metrics.Mean))
        self._trackers = {m.name: m for m in means} if self._readable else {}
        steps, epochs = self.params.get("steps"), self.params.get("epochs")
        optimizer = self.model.optimizer
        # A loaded or trained model goes on counting.
        self._base = int(optimizer.iterations) * (optimizer.gradient_accumulation_steps or 1)
        config = {k: v for k, v in optimizer.get_config().items() if isinstance(v, (int, float, str))}
        self.link.open(
            self,
            {**config, "epochs": epochs},
            planned_steps=self._base + steps * epochs if steps else None,
            steps_per_epoch=steps,
            learning_rate=self._rate(),
            weight_decay=config.get("weight_decay"),
            clip_norm=config.get("global_clipnorm"),
            optimizer=type(optimizer).__name__,
        )
        if self.watch:
            # On the torch backend, which keeps the gradients until the next batch. Its layers' names say nothing there.
            self.link.watch(self.model, None, per_layer=False, dead_units=False)

    @hook
    def on_epoch_begin(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        self._done, self._means, self._sums = 0, {}, {}

    @hook
    def on_train_batch_end(self, batch: int, logs: Mapping[str, float] | None = None) -> None:
        values = self._since_last_batch(batch + 1, logs or {})
        rate = {"learning_rate": self._rate()} if self._readable else {}
        self.link.log(self._base + self._done, {**values, **rate})
        self._obey()

    def _since_last_batch(self, done: int, logs: Mapping[str, float]) -> dict[str, float]:
        """Mean losses of the batches since the last call (one batch, but for ``steps_per_execution``)."""
        means = {n: v for n, v in logs.items() if n == "loss" or n.endswith("_loss")}
        # Where there are no sums: from the means before and after, as if all batches were of one size.
        weight = self._done / max(done - self._done, 1)
        found = {}
        for name, mean in means.items():
            exact = self._from_sums(name)
            found[name] = mean + (mean - self._means.get(name, mean)) * weight if exact is None else exact
        self._done, self._means = done, means
        return found

    def _from_sums(self, name: str) -> float | None:
        """From the sums that Keras keeps of a loss, exactly; None where they cannot be had."""
        tracker = self._trackers.get(name)
        if tracker is None:
            return None
        total, count = float(tracker.total), float(tracker.count)
        total_before, count_before = self._sums.get(name, (0.0, 0.0))
        self._sums[name] = (total, count)
        return (total - total_before) / (count - count_before) if count > count_before else None

    @hook
    def on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        steps = self._done or self.params.get("steps") or 1
        self._base += steps
        values = {n: v for n, v in (logs or {}).items() if n not in self._means}
        rate = {} if self._done and self._readable else {"learning_rate": self._rate()}
        self.link.log(self._base, {**rate, **values, "epoch": epoch + 1})
        self._done, self._means, self._sums = 0, {}, {}
        self._obey()

    def _rate(self) -> float:
        return float(self.model.optimizer.learning_rate)

    def _obey(self) -> None:
        if self.link.should_stop:
            self.model.stop_training = True

    @hook
    def on_train_end(self, logs: Mapping[str, float] | None = None) -> None:
        self.link.close()
