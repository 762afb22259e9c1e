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
    from lossdoctor.probes.data.loss_choice import LossSuggestion as LossSuggestion
    from lossdoctor.probes.data.result import DataResult as DataResult
    from lossdoctor.probes.eval_modes import eval_mode_gap as eval_mode_gap
    from lossdoctor.probes.eval_modes_verdict import EvalModeResult as EvalModeResult
    from lossdoctor.probes.gradients import check_gradients as check_gradients
    from lossdoctor.probes.gradients_numerical import gradient_check as gradient_check
    from lossdoctor.probes.gradients_numerical_result import CoordinateCheck as CoordinateCheck
    from lossdoctor.probes.gradients_numerical_result import GradientCheckResult as GradientCheckResult
    from lossdoctor.probes.gradients_result import GradientsResult as GradientsResult
    from lossdoctor.probes.gradients_result import LayerGradient as LayerGradient
    from lossdoctor.probes.initial_loss import InitialLossResult as InitialLossResult
    from lossdoctor.probes.initial_loss import check_initial_loss as check_initial_loss
    from lossdoctor.probes.input_matters import RandomInputResult as RandomInputResult
    from lossdoctor.probes.input_matters import random_input_test as random_input_test
    from lossdoctor.probes.labels_matter import ShuffledLabelResult as ShuffledLabelResult
    from lossdoctor.probes.labels_matter import shuffled_label_test as shuffled_label_test
    from lossdoctor.probes.lr_range import LRRangeResult as LRRangeResult
    from lossdoctor.probes.lr_range import lr_range_test as lr_range_test
    from lossdoctor.probes.lr_trials import LRTrialResult as LRTrialResult
    from lossdoctor.probes.lr_trials import lr_trial as lr_trial
    from lossdoctor.probes.noise_scale import NoiseScaleResult as NoiseScaleResult
    from lossdoctor.probes.noise_scale import gradient_noise_scale as gradient_noise_scale
    from lossdoctor.probes.overfit import overfit_one_batch as overfit_one_batch
    from lossdoctor.probes.overfit import overfit_subset as overfit_subset
    from lossdoctor.probes.overfit_result import OverfitResult as OverfitResult
    from lossdoctor.probes.overfit_result import OverfitSubsetResult as OverfitSubsetResult
    from lossdoctor.probes.report import CheckupReport as CheckupReport
    from lossdoctor.probes.result import ProbeResult as ProbeResult
    from lossdoctor.probes.resume import resume_test as resume_test
    from lossdoctor.probes.resume_result import ResumeResult as ResumeResult
    from lossdoctor.probes.shuffle import shuffle_test as shuffle_test
    from lossdoctor.probes.shuffle_result import ShuffleResult as ShuffleResult
    from lossdoctor.probes.splits import SplitsResult as SplitsResult
    from lossdoctor.probes.splits import compare_splits as compare_splits
    from lossdoctor.probes.target import Target as Target

# Function -> the file that holds it. Everything is imported on use: torch comes with the first test.
_EXPORTS = {
    "CheckupReport": "lossdoctor.probes.report",
    "CoordinateCheck": "lossdoctor.probes.gradients_numerical_result",
    "CurvatureResult": "lossdoctor.probes.curvature_probe",
    "DataFinding": "lossdoctor.probes.data.finding",
    "DataResult": "lossdoctor.probes.data.result",
    "EvalModeResult": "lossdoctor.probes.eval_modes_verdict",
    "GradientCheckResult": "lossdoctor.probes.gradients_numerical_result",
    "GradientsResult": "lossdoctor.probes.gradients_result",
    "InitialLossResult": "lossdoctor.probes.initial_loss",
    "LRRangeResult": "lossdoctor.probes.lr_range",
    "LRTrialResult": "lossdoctor.probes.lr_trials",
    "LayerGradient": "lossdoctor.probes.gradients_result",
    "LossSuggestion": "lossdoctor.probes.data.loss_choice",
    "NoiseScaleResult": "lossdoctor.probes.noise_scale",
    "OverfitResult": "lossdoctor.probes.overfit_result",
    "OverfitSubsetResult": "lossdoctor.probes.overfit_result",
    "ProbeResult": "lossdoctor.probes.result",
    "RandomInputResult": "lossdoctor.probes.input_matters",
    "ResumeResult": "lossdoctor.probes.resume_result",
    "ShuffleResult": "lossdoctor.probes.shuffle_result",
    "ShuffledLabelResult": "lossdoctor.probes.labels_matter",
    "SplitsResult": "lossdoctor.probes.splits",
    "Target": "lossdoctor.probes.target",
    "check_data": "lossdoctor.probes.data.front",
    "check_gradients": "lossdoctor.probes.gradients",
    "check_initial_loss": "lossdoctor.probes.initial_loss",
    "checkup": "lossdoctor.probes.checkup_run",
    "compare_splits": "lossdoctor.probes.splits",
    "curvature": "lossdoctor.probes.curvature_probe",
    "eval_mode_gap": "lossdoctor.probes.eval_modes",
    "gradient_check": "lossdoctor.probes.gradients_numerical",
    "gradient_noise_scale": "lossdoctor.probes.noise_scale",
    "lr_range_test": "lossdoctor.probes.lr_range",
    "lr_trial": "lossdoctor.probes.lr_trials",
    "overfit_one_batch": "lossdoctor.probes.overfit",
    "overfit_subset": "lossdoctor.probes.overfit",
    "random_input_test": "lossdoctor.probes.input_matters",
    "resume_test": "lossdoctor.probes.resume",
    "shuffle_test": "lossdoctor.probes.shuffle",
    "shuffled_label_test": "lossdoctor.probes.labels_matter",
}

__all__ = [
    "CheckupReport",
    "CoordinateCheck",
    "CurvatureResult",
    "DataFinding",
    "DataResult",
    "EvalModeResult",
    "GradientCheckResult",
    "GradientsResult",
    "InitialLossResult",
    "LRRangeResult",
    "LRTrialResult",
    "LayerGradient",
    "LossSuggestion",
    "NoiseScaleResult",
    "OverfitResult",
    "OverfitSubsetResult",
    "ProbeResult",
    "RandomInputResult",
    "ResumeResult",
    "ShuffleResult",
    "ShuffledLabelResult",
    "SplitsResult",
    "Target",
    "check_data",
    "check_gradients",
    "check_initial_loss",
    "checkup",
    "compare_splits",
    "curvature",
    "eval_mode_gap",
    "gradient_check",
    "gradient_noise_scale",
    "lr_range_test",
    "lr_trial",
    "overfit_one_batch",
    "overfit_subset",
    "random_input_test",
    "resume_test",
    "shuffle_test",
    "shuffled_label_test",
]


def __getattr__(name: str) -> Any:
    if name in _EXPORTS:
        return getattr(import_module(_EXPORTS[name]), name)
    raise AttributeError(f"module 'lossdoctor.probes' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
