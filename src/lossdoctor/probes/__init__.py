"""Active tests on a torch model: the curve says that something is wrong, these say why. They leave no trace.

Each takes the model, its loss and its batches, and returns a :class:`~lossdoctor.probes.result.ProbeResult`: numbers, a
verdict in words, charts, and measurements that rules judge. They need torch (the extra ``torch``).
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lossdoctor.probes.checkup_run import checkup as checkup
    from lossdoctor.probes.curvature_probe import CurvatureResult as CurvatureResult
    from lossdoctor.probes.curvature_probe import curvature as curvature
    from lossdoctor.probes.data.finding import DataFinding as DataFinding
    from lossdoctor.probes.data.front import check_data as check_data
    from lossdoctor.probes.data.result import DataResult as DataResult
    from lossdoctor.probes.initial_loss import InitialLossResult as InitialLossResult
    from lossdoctor.probes.initial_loss import check_initial_loss as check_initial_loss
    from lossdoctor.probes.input_matters import RandomInputResult as RandomInputResult
    from lossdoctor.probes.input_matters import random_input_test as random_input_test
    from lossdoctor.probes.labels_matter import ShuffledLabelResult as ShuffledLabelResult
    from lossdoctor.probes.labels_matter import shuffled_label_test as shuffled_label_test
    from lossdoctor.probes.lr_range import LRRangeResult as LRRangeResult
    from lossdoctor.probes.lr_range import lr_range_test as lr_range_test
    from lossdoctor.probes.lr_trial import LRTrialResult as LRTrialResult
    from lossdoctor.probes.lr_trial import lr_trial as lr_trial
    from lossdoctor.probes.noise_scale import NoiseScaleResult as NoiseScaleResult
    from lossdoctor.probes.noise_scale import gradient_noise_scale as gradient_noise_scale
    from lossdoctor.probes.overfit import overfit_one_batch as overfit_one_batch
    from lossdoctor.probes.overfit import overfit_subset as overfit_subset
    from lossdoctor.probes.overfit_result import OverfitResult as OverfitResult
    from lossdoctor.probes.overfit_result import OverfitSubsetResult as OverfitSubsetResult
    from lossdoctor.probes.report import CheckupReport as CheckupReport
    from lossdoctor.probes.result import ProbeResult as ProbeResult
    from lossdoctor.probes.target import Target as Target

# Function -> the file that holds it. Everything is imported on use: torch comes with the first test.
_EXPORTS = {
    "CheckupReport": "lossdoctor.probes.report",
    "CurvatureResult": "lossdoctor.probes.curvature_probe",
    "DataFinding": "lossdoctor.probes.data.finding",
    "DataResult": "lossdoctor.probes.data.result",
    "InitialLossResult": "lossdoctor.probes.initial_loss",
    "LRRangeResult": "lossdoctor.probes.lr_range",
    "LRTrialResult": "lossdoctor.probes.lr_trial",
    "NoiseScaleResult": "lossdoctor.probes.noise_scale",
    "OverfitResult": "lossdoctor.probes.overfit_result",
    "OverfitSubsetResult": "lossdoctor.probes.overfit_result",
    "ProbeResult": "lossdoctor.probes.result",
    "RandomInputResult": "lossdoctor.probes.input_matters",
    "ShuffledLabelResult": "lossdoctor.probes.labels_matter",
    "Target": "lossdoctor.probes.target",
    "check_data": "lossdoctor.probes.data.front",
    "check_initial_loss": "lossdoctor.probes.initial_loss",
    "checkup": "lossdoctor.probes.checkup_run",
    "curvature": "lossdoctor.probes.curvature_probe",
    "gradient_noise_scale": "lossdoctor.probes.noise_scale",
    "lr_range_test": "lossdoctor.probes.lr_range",
    "lr_trial": "lossdoctor.probes.lr_trial",
    "overfit_one_batch": "lossdoctor.probes.overfit",
    "overfit_subset": "lossdoctor.probes.overfit",
    "random_input_test": "lossdoctor.probes.input_matters",
    "shuffled_label_test": "lossdoctor.probes.labels_matter",
}

__all__ = [
    "CheckupReport",
    "CurvatureResult",
    "DataFinding",
    "DataResult",
    "InitialLossResult",
    "LRRangeResult",
    "LRTrialResult",
    "NoiseScaleResult",
    "OverfitResult",
    "OverfitSubsetResult",
    "ProbeResult",
    "RandomInputResult",
    "ShuffledLabelResult",
    "Target",
    "check_data",
    "check_initial_loss",
    "checkup",
    "curvature",
    "gradient_noise_scale",
    "lr_range_test",
    "lr_trial",
    "overfit_one_batch",
    "overfit_subset",
    "random_input_test",
    "shuffled_label_test",
]


def __getattr__(name: str) -> Any:
    if name in _EXPORTS:
        return getattr(import_module(_EXPORTS[name]), name)
    raise AttributeError(f"module 'lossdoctor.probes' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
