"""One short run of the user's own training, in whichever of its forms the function is written."""

from __future__ import annotations

import inspect
import math
import random
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lossdoctor.core.errors import UsageError

Report = Callable[[int, float], bool]
Prune = Callable[[int, float], bool]  # (step, validation loss) -> whether to stop this run


@dataclass
class Ran:
    """What one run gave.

    Attributes:
        points: (step, validation loss) as reported, in order; the last one is the end.
        steps: how many it cost.
        stopped: whether it was stopped on the way.
        error: what the training raised; empty when it ran through.
    """

    points: list[tuple[int, float]] = field(default_factory=list)
    steps: int = 0
    stopped: bool = False
    error: str = ""

    @property
    def value(self) -> float:
        """The final validation loss; infinite when it is not finite, when there is none, and after an error."""
        last = self.points[-1][1] if self.points and not self.error else math.inf
        return last if math.isfinite(last) else math.inf


class Training:
    """The user's function: ``train_fn(config, steps)``, with ``seed`` and ``report`` passed by name if it takes them.

    Raises:
        UsageError: it is no function, or cannot be called so.
    """

    def __init__(self, train_fn: Callable[..., Any]) -> None:
        if not callable(train_fn):
            raise UsageError(
                f"train_fn is a {type(train_fn).__name__}; expected a function (config, steps) -> val_loss"
            )
        self.function = train_fn
        parameters = inspect.signature(train_fn).parameters
        anything = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values())
        self.seeded = anything or "seed" in parameters
        self.reports = anything or "report" in parameters
        #: Whether a run can be stopped on the way; others are run afresh at each length.
        self.goes_on = self.reports or inspect.isgeneratorfunction(train_fn)
        try:
            inspect.signature(train_fn).bind({}, 1, **self._named(0, lambda step, loss: False))  # noqa: ARG005
        except TypeError as error:
            raise UsageError(
                f"train_fn{inspect.signature(train_fn)} cannot be called as train_fn(config, steps), with seed= and"
                f" report= by name where it has them: {error}"
            ) from None

    def run(self, config: Mapping[str, Any], steps: int, seed: int, prune: Prune | None = None) -> Ran:
        """Train once. Python's, NumPy's and torch's generators are seeded for it, and put back.

        An exception of the user's code is in the result; Ctrl-C goes through.

        Args:
            config: given as a copy.
            steps: the length of the run.
            seed: the same one for all remedies, so that they are compared on the same data and weights.
            prune: asked at each report whether to stop.
        """
        ran = Ran()

        def report(step: int, loss: float) -> bool:
            ran.points.append((int(step), float(loss)))
            # From a NaN nothing comes back: the rest of the run would be wasted.
            ran.stopped = ran.stopped or not math.isfinite(float(loss)) or (prune is not None and prune(step, loss))
            return ran.stopped

        with seeded(seed):
            try:
                returned = self.function(dict(config), steps, **self._named(seed, report))
                self._read(returned, ran, report, steps)
            except UsageError:
                raise
            except Exception as error:
                # Optuna's own way to say that a run was stopped is no failure.
                if not (ran.stopped and type(error).__name__ == "TrialPruned"):
                    ran.error = f"{type(error).__name__}: {str(error).strip() or 'no message'}"
        reached = ran.points[-1][0] if ran.points else 0
        ran.steps = min(steps, max(1, reached)) if ran.stopped or ran.error else steps
        return ran

    def _named(self, seed: int, report: Report) -> dict[str, Any]:
        return {**({"seed": seed} if self.seeded else {}), **({"report": report} if self.reports else {})}

    def _read(self, returned: Any, ran: Ran, report: Report, steps: int) -> None:
        if isinstance(returned, Iterator):
            for item in returned:
                if report(*_pair(item)):
                    close = getattr(returned, "close", None)
                    if close is not None:
                        close()
                    break
        elif returned is not None and not ran.stopped:
            ran.points.append((steps, _number(returned)))
        if not ran.points:
            raise UsageError(
                "train_fn gave no validation loss; expected it to return one, to call report(step, val_loss), or to"
                " yield (step, val_loss)"
            )


def _pair(item: Any) -> tuple[int, float]:
    if isinstance(item, tuple | list) and len(item) == 2:
        return int(item[0]), _number(item[1])
    raise UsageError(f"train_fn yielded {item!r}; expected (step, val_loss)")


def _number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        raise UsageError(f"train_fn gave a {type(value).__name__}; expected the validation loss, a number") from None


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """The global generators start from the seed in the body, and go on after it as if nothing had been."""
    python, numpy = random.getstate(), np.random.get_state()
    torch = sys.modules.get("torch")  # who has not imported it does not draw from it
    try:
        random.seed(seed)
        np.random.seed(seed % 2**32)
        if torch is None:
            yield
        else:
            with torch.random.fork_rng():
                torch.manual_seed(seed)
                yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)
