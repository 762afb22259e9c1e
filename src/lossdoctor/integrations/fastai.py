"""fastai: a callback for ``Learner``.

>>> from lossdoctor.integrations.fastai import LossDoctorCallback  # doctest: +SKIP
>>> learner.fit_one_cycle(5, cbs=LossDoctorCallback())  # doctest: +SKIP
"""

from __future__ import annotations

from typing import Any

from lossdoctor.integrations._link import Link, framework, hook

_core: Any = framework("fastai.callback.core", extra="fastai")
Callback: Any = _core.Callback
rank_distrib = framework("fastai.torch_core", extra="fastai").rank_distrib


class LossDoctorCallback(Callback):
    """Records loss and learning rate of every optimizer step, and validation loss and metrics of every epoch.

    Steps go on counting from one ``fit`` to the next. Ends the training where an action asks for it, as fastai's own
    callbacks do (CancelFitException).

    Args:
        monitor: a ready Monitor, which stays open at the end; or None.
        watch: watch the gradients; see ``Monitor.watch``.
        options: else, keyword arguments of Monitor: ``run_dir``, ``name``, ``actions``, ….

    Attributes:
        monitor: the monitor of the training; None before the first one and on other ranks than 0.
    """

    order = 60  # after fastai's Recorder (50), whose values it reads

    def __init__(self, monitor: Any = None, *, watch: bool = True, **options: Any) -> None:
        super().__init__()
        self.link = Link("LossDoctorCallback for fastai", monitor, options)
        self.watch = watch
        self._done = 0
        self._sum: Any = None  # of the losses of the batches whose gradients are accumulated
        self._batches = 0

    @property
    def monitor(self) -> Any:
        return self.link.monitor

    @hook
    def before_fit(self) -> None:
        learn = self.learn
        # Neither a learning-rate search nor a prediction is a training; fastai puts `run` back after each fit.
        self.run = not (rank_distrib() or hasattr(learn, "lr_finder") or hasattr(learn, "gather_preds"))
        if not self.run:
            return
        self._sum, self._batches = None, 0
        accumulates = any(type(c).__name__ == "GradientAccumulation" for c in learn.cbs)
        batches = None if accumulates else len(learn.dls.train)
        hypers = learn.opt.hypers[-1]
        self.link.open(
            self,
            {k: v for k, v in hypers.items() if isinstance(v, (int, float, str))},
            planned_steps=self._done + learn.n_epoch * batches if batches else None,
            steps_per_epoch=batches,
            batch_size=getattr(learn.dls.train, "bs", None),
            learning_rate=hypers.get("lr"),
            weight_decay=hypers.get("wd"),
            optimizer=type(learn.opt).__name__,
        )
        if self.watch:
            self.link.watch(learn.model, None)  # fastai's optimizers are its own

    @hook
    def after_loss(self) -> None:
        if self.learn.training:
            loss = self.learn.loss.detach()
            self._sum = loss if self._sum is None else self._sum + loss
            self._batches += 1

    @hook
    def after_step(self) -> None:
        """Before fastai sets the gradients to zero; not called for batches whose gradients are only accumulated."""
        self._done += 1
        loss = None if self._sum is None else self._sum / self._batches
        self._sum, self._batches = None, 0
        self.link.log(self._done, {"train_loss": loss, "learning_rate": self.learn.opt.hypers[-1].get("lr")})

    def after_batch(self) -> None:
        if self.learn.training and self.link.should_stop:
            raise _core.CancelFitException

    @hook
    def after_epoch(self) -> None:
        """fastai's Recorder has the names and values; its mean training loss stands in the curve of the batches."""
        recorder = getattr(self.learn, "recorder", None)
        if recorder is None or not len(recorder.values):
            return
        names = [n for n in recorder.metric_names if n not in ("epoch", "time")]
        values = {_named(n): v for n, v in zip(names, recorder.values[-1], strict=False) if n != "train_loss"}
        self.link.log(self._done, values)

    @hook
    def after_fit(self) -> None:
        self.link.close()


def _named(name: str) -> str:
    """Metrics are of the validation, and fastai's names do not say so."""
    return name if name.startswith(("train_", "valid_")) else f"valid_{name}"
