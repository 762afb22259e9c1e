"""What a comparison of splits comes to: their relation, in words, and what it says of causes."""

from __future__ import annotations

import math

from lossdoctor.core.finding import Measurement
from lossdoctor.core.numbers import percent, short
from lossdoctor.probes.data.finding import DataFinding, listed
from lossdoctor.probes.data.table import Table
from lossdoctor.probes.splits.classifier import ClassifierTest
from lossdoctor.probes.splits.shift import Shift
from lossdoctor.probes.splits.validation import Sureness

# One percent of false alarms in all: half for the features together, a quarter each for classifier and target.
FEATURES, CLASSIFIER, TARGET = 0.005, 0.0025, 0.0025
LEAST = 30  # examples of a split below which nothing is said of shift
_CLEAR_AUC, _CLEAR_DISTANCE = 0.6, 0.15  # from which a shift is large, however sure it is


def relation_of(leak: DataFinding | None, differs: bool, enough: bool) -> str:
    if leak is not None and leak.rank:
        return "overlap"
    if not enough:
        return "unknown"
    return "shifted" if differs else "same"


def is_large(shifted: tuple[Shift, ...], moved: tuple[Shift, ...], told: ClassifierTest | None) -> bool:
    """Whether a shift is large, not only sure."""
    distance = max((s.distance for s in (*shifted, *moved)), default=0.0)
    return distance >= _CLEAR_DISTANCE or (told is not None and told.p < CLASSIFIER and told.auc >= _CLEAR_AUC)


def outcome_of(relation: str, large: bool, sure: Sureness) -> str:
    if relation == "overlap" or (relation == "shifted" and large):
        return "failed"
    if relation == "unknown":
        return "unknown"
    if sure.grade == "tiny":
        return "failed"
    return "noted" if relation == "shifted" or sure.grade != "fine" else "passed"


def shift_worded(s: Shift) -> str:
    move = "" if not math.isfinite(s.move) else f", median moved by {short(s.move)} robust standard deviations"
    return f"distance {short(s.distance)} ({s.how}, p = {short(s.p_corrected)} corrected){move}"


def size_worded(v: Sureness) -> str:
    if math.isfinite(v.loss_error):
        error = f"{short(v.loss_error)} ({percent(v.relative_error)})"
        return f"{v.examples:,} examples give a loss of {short(v.loss)} ± {error}"
    if math.isfinite(v.accuracy_error):
        return f"{v.examples:,} examples give an accuracy to ± {percent(v.accuracy_error)} at most"
    return f"{v.examples:,} examples give a squared error to ± {percent(v.relative_error)} (with normal residuals)"


def worded(
    relation: str,
    large: bool,
    leak: DataFinding | None,
    shifted: tuple[Shift, ...],
    moved: tuple[Shift, ...],
    told: ClassifierTest | None,
    sure: Sureness,
) -> str:
    said = []
    if relation == "overlap" and leak is not None:
        said.append(f"The parts overlap: {leak.summary}. {leak.remedy.what if leak.remedy else ''}".strip())
    if shifted or moved or (told is not None and told.p < CLASSIFIER):
        said.append(_differences(large, shifted, moved, told))
    if relation == "same":
        seen = ""
        if told is not None:
            # What a test of this level finds with 90 % power.
            seen = (
                f"; a classifier tells them apart with AUC {told.auc:.3f} ± {told.error:.3f}, where 0.5 is by guessing,"
            )
            seen += f" and one of {0.5 + 4.1 * told.error:.2f} would have been noticed"
        said.append(f"No difference between training and validation was found{seen}.")
    if relation == "unknown":
        said.append(f"There are too few examples to say whether the parts differ ({LEAST} of each are needed).")
    if sure.grade != "fine":
        coarse = sure.grade == "coarse"
        step = "small differences between runs are noise" if coarse else "cross-validate, or hold out more"
        said.append(f"The validation part is {sure.grade}: {size_worded(sure)}; {step}.")
    return " ".join(said)


def _differences(large: bool, shifted: tuple[Shift, ...], moved: tuple[Shift, ...], told: ClassifierTest | None) -> str:
    parts = []
    if shifted:
        worst = shifted[0]
        count = "one feature differs" if len(shifted) == 1 else f"{len(shifted):,} features differ"
        parts.append(f"{count} ({listed([s.name for s in shifted])}; {worst.name!r} most: {shift_worded(worst)})")
    if moved:
        parts.append(f"the target differs ({shift_worded(moved[0])})")
    if told is not None and told.p < CLASSIFIER:
        parts.append(f"a classifier tells them apart with AUC {told.auc:.3f} ± {told.error:.3f}")
    size = "Training and validation are not of one distribution" if large else "Training and validation differ slightly"
    step = (
        "Look at how these features and the split were made (time, source, preprocessing); where all data are of one"
        " kind, split at random."
    )
    return f"{size}: {'; '.join(parts)}. {step if large else ''}".strip()


def measured(
    leak: DataFinding | None, compared: tuple[Shift, ...], told: ClassifierTest | None, sure: Sureness
) -> tuple[Measurement, ...]:
    out = [Measurement("split_overlap", 0.0 if leak is None else leak.value, "share")]
    if compared:
        out.append(Measurement("split_distance", max(s.distance for s in compared), "KS or total variation"))
    if told is not None:
        out.append(Measurement("split_auc", told.auc, "AUC", None, {"error": told.error, "p": told.p}))
    if math.isfinite(sure.loss_error):
        detail = {"loss": sure.loss, "examples": sure.examples}
        out.append(Measurement("validation_loss_error", sure.loss_error, "loss", None, detail))
    return tuple(out)


def causes_of(
    relation: str, large: bool, leak: DataFinding | None, sure: Sureness, train: Table, val: Table
) -> dict[str, float]:
    causes: dict[str, float] = {}
    if leak is not None:
        causes |= leak.causes
    elif train.total is None or train.examples >= train.total:
        causes["data-leak"] = 0.3
    if relation == "shifted":
        causes["validation-differs"] = 8.0 if large else 2.0
    elif relation == "same":
        causes["validation-differs"] = 0.2 if min(train.examples, val.examples) >= 500 else 0.5
    causes["validation-too-small"] = {"tiny": 6.0, "small": 3.0, "coarse": 1.8, "fine": 0.3}[sure.grade]
    count = train.total or train.examples
    if count < 100:
        causes["too-little-data"] = 3.0
    elif count < 10 * train.features:
        causes["too-little-data"] = 1.3
    elif count >= 5000 and count >= 50 * train.features:
        causes["too-little-data"] = 0.6
    return causes
