"""Training against validation: of one distribution, shifted or overlapping, and how sure a validation loss is."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

from lossdoctor.core.errors import UsageError
from lossdoctor.core.numbers import short
from lossdoctor.probes.chart import Chart
from lossdoctor.probes.data.arrays import Wish
from lossdoctor.probes.data.duplicates import across, comparable
from lossdoctor.probes.data.finding import DataFinding
from lossdoctor.probes.data.source import read
from lossdoctor.probes.data.table import Table
from lossdoctor.probes.progress import Progress, shown
from lossdoctor.probes.result import ProbeResult
from lossdoctor.probes.splits.classifier import ClassifierTest, available, classifier_test
from lossdoctor.probes.splits.shift import Shift, shifts, target_shift
from lossdoctor.probes.splits.validation import Sureness, sureness
from lossdoctor.probes.splits.words import (
    CLASSIFIER,
    FEATURES,
    LEAST,
    TARGET,
    causes_of,
    is_large,
    measured,
    outcome_of,
    relation_of,
    shift_worded,
    size_worded,
    worded,
)

_WORST = 10


@dataclass(frozen=True, kw_only=True)
class SplitsResult(ProbeResult):
    """What :func:`compare_splits` found.

    Attributes:
        relation: ``"same"`` (no difference was found), ``"shifted"``, ``"overlap"`` (examples in both), ``"unknown"``.
        shifted: the features that differ, the most shifted first, at most ten; ``shifted_features`` counts them all.
        compared: the ten most shifted of all compared features, whether they differ or not.
        target: the target compared, its ten most shifted outputs; empty where it could not be.
        classifier: the classifier two-sample test; None with too few examples or without scikit-learn.
        leak: the examples in both parts, or None.
        validation: how sure a validation loss is.
        train_examples, val_examples: how many were read.
        notes: what was not read or left out.
    """

    test: ClassVar[str] = "compare_splits"
    title: ClassVar[str] = "Training and validation"

    relation: str = "unknown"
    shifted: tuple[Shift, ...] = ()
    shifted_features: int = 0
    compared: tuple[Shift, ...] = ()
    target: tuple[Shift, ...] = ()
    classifier: ClassifierTest | None = None
    leak: DataFinding | None = None
    validation: Sureness | None = None
    train_examples: int = 0
    val_examples: int = 0
    notes: tuple[str, ...] = ()

    def rows(self) -> tuple[tuple[str, str], ...]:
        told = [("examples", f"{self.train_examples:,} training, {self.val_examples:,} validation")]
        if self.classifier is not None:
            c = self.classifier
            told.append(
                (f"classifier ({c.classifier})", f"AUC {c.auc:.3f} ± {c.error:.3f} (0.5: alike), p = {short(c.p)}")
            )
        told += [(f"shift of {s.name!r}", shift_worded(s)) for s in (*self.target[:3], *self.shifted)]
        if self.leak is not None:
            told.append(("in both", self.leak.summary))
        if self.validation is not None:
            told.append(("validation part", size_worded(self.validation)))
        return tuple(told + [("note", n) for n in self.notes])

    def charts(self) -> tuple[Chart, ...]:
        if not self.compared:
            return ()
        bars = tuple((s.name, s.distance) for s in self.compared[:_WORST])
        return (Chart("Distance between training and validation", "0: alike, 1: wholly apart", bars=bars),)


def compare_splits(
    train: Any,
    val: Any,
    *,
    target: str | None = None,
    model: Any = None,
    loss_fn: Callable[..., Any] | None = None,
    forward: Callable[[Any, Any], Any] | None = None,
    classifier: str = "auto",
    kind: str | None = None,
    task: str | None = None,
    max_examples: int = 50_000,
    progress: Progress | bool | None = None,
) -> SplitsResult:
    """Whether training and validation part are of one distribution, whether they overlap, and how sure a loss on it is.

    Every feature is compared (Kolmogorov-Smirnov, or chi² where its values are few; of images the mean and contrast by
    channel, of texts their length and most frequent codes), corrected by Holm for how many there are; so is the target.
    A classifier is trained to tell the parts apart and judged on examples that it has not seen (Lopez-Paz and Oquab,
    "Revisiting classifier two-sample tests", 2017; by AUC), which also finds shifts of features together. Equal rows in
    both are counted. Parts of one distribution are called shifted in 1 % of cases at most. An augmentation in the
    training loader alone is a shift too: compare without it where that is not what you ask.

    Args:
        train, val: a ``DataLoader``, a list of batches, a torch ``Dataset``, an array, tensor or frame of inputs, or a
            pair ``(x, y)`` of such; both of the same form.
        target: of frames the name of the target's column.
        model, loss_fn, forward: as for the other tests; with them the standard error of the validation loss is measured
            from the losses of single examples (up to 2,000, in evaluation mode).
        classifier: ``"auto"`` (logistic regression and gradient boosting, where scikit-learn is installed),
            ``"logistic"``, ``"boosting"`` or ``"none"``.
        kind, task, max_examples, progress: as for :func:`~lossdoctor.probes.data.front.check_data`.

    Raises:
        UsageError: parts of different form, data that can be read only once or hold nothing, a classifier without
            scikit-learn, a model without its loss.
        UserCodeError: the loader, the model or the loss raised.

    Nothing is changed. Cost: one pass over each part, and seconds for the classifiers.

    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> result = compare_splits(rng.normal(size=(800, 4)), rng.normal(size=(400, 4)) + [0, 0, 1, 0], progress=False)
    >>> result.relation, [s.name for s in result.shifted]
    ('shifted', ['feature 2'])
    """
    started = time.perf_counter()
    if model is None and (loss_fn is not None or forward is not None):
        raise UsageError("a loss was given without a model; give both, or neither")
    wish = Wish(max_examples, None, kind, task)
    with shown("Comparing the splits", progress) as tell:
        ours = read(train, target, wish, tell, "train")
        theirs = read(val, target, wish, tell, "val")
        _checked(ours, theirs)
        tell(1, 5)
        leaks = across(ours, theirs)
        tell(2, 5)
        compared = shifts(ours, theirs) if _enough(ours, theirs) else ()
        targets = target_shift(ours, theirs) if _enough(ours, theirs) else ()
        tell(3, 5)
        told = classifier_test(ours, theirs, classifier)
        tell(4, 5)
        sure = sureness(theirs, val, model, loss_fn, forward)
        tell(5, 5)
    shifted = tuple(s for s in compared if s.p_corrected < FEATURES)
    moved = tuple(s for s in targets if s.p_corrected < TARGET)
    apart = told is not None and told.p < CLASSIFIER
    leak = leaks[0] if leaks else None
    relation = relation_of(leak, bool(shifted or moved or apart), _enough(ours, theirs))
    notes = [*(f"training: {n}" for n in ours.notes), *(f"validation: {n}" for n in theirs.notes)]
    if told is None and classifier == "auto" and not available():
        notes.append("no classifier was tried: scikit-learn is not installed (pip install 'lossdoctor[sklearn]')")
    large = is_large(shifted, moved, told)
    return SplitsResult(
        outcome=outcome_of(relation, large, sure),
        verdict=worded(relation, large, leak, shifted, moved, told, sure),
        measurements=measured(leak, compared, told, sure),
        causes=causes_of(relation, large, leak, sure, ours, theirs),
        steps=math.ceil(sure.measured_on / 256) if sure.measured_on else 0,
        seconds=time.perf_counter() - started,
        relation=relation,
        shifted=shifted[:_WORST],
        shifted_features=len(shifted),
        compared=compared[:_WORST],
        target=targets[:_WORST],
        classifier=told,
        leak=leak,
        validation=sure,
        train_examples=ours.examples,
        val_examples=theirs.examples,
        notes=tuple(notes),
    )


def _checked(train: Table, val: Table) -> None:
    if comparable(train, val):
        return
    forms = [", ".join(f"{p.kind} of {p.places} × {p.features}" for p in t.parts) for t in (train, val)]
    raise UsageError(
        f"the training inputs are {forms[0]}, the validation inputs {forms[1]} (places × features); expected the same"
        " form in both"
    )


def _enough(train: Table, val: Table) -> bool:
    return min(train.examples, val.examples) >= LEAST
