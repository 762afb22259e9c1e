"""Active tests on a torch model: the curve says that something is wrong, these say why. They leave no trace.

Each takes the model, its loss and its batches, and returns a :class:`~lossdoctor.probes.result.ProbeResult`: numbers, a
verdict in words, charts, and measurements that rules judge. They need torch (the extra ``torch``).
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lossdoctor.probes.checkups.report import CheckupReport as CheckupReport
    from lossdoctor.probes.checkups.run import checkup as checkup
    from lossdoctor.probes.checkups.target import Target as Target
    from lossdoctor.probes.data.finding import DataFinding as DataFinding
    from lossdoctor.probes.data.front import check_data as check_data
    from lossdoctor.probes.data.loss_choice import LossSuggestion as LossSuggestion
    from lossdoctor.probes.data.result import DataResult as DataResult
    from lossdoctor.probes.gradients.check import check_gradients as check_gradients
    from lossdoctor.probes.gradients.result import GradientsResult as GradientsResult
    from lossdoctor.probes.gradients.result import LayerGradient as LayerGradient
    from lossdoctor.probes.hessian.check import CurvatureResult as CurvatureResult
    from lossdoctor.probes.hessian.check import curvature as curvature
    from lossdoctor.probes.initial_loss.check import InitialLossResult as InitialLossResult
    from lossdoctor.probes.initial_loss.check import check_initial_loss as check_initial_loss
    from lossdoctor.probes.learning_rate.range import LRRangeResult as LRRangeResult
    from lossdoctor.probes.learning_rate.range import lr_range_test as lr_range_test
    from lossdoctor.probes.learning_rate.trial import LRTrialResult as LRTrialResult
    from lossdoctor.probes.learning_rate.trial import lr_trial as lr_trial
    from lossdoctor.probes.modes.check import eval_mode_gap as eval_mode_gap
    from lossdoctor.probes.modes.verdict import EvalModeResult as EvalModeResult
    from lossdoctor.probes.noise_scale.check import NoiseScaleResult as NoiseScaleResult
    from lossdoctor.probes.noise_scale.check import gradient_noise_scale as gradient_noise_scale
    from lossdoctor.probes.numerical.check import gradient_check as gradient_check
    from lossdoctor.probes.numerical.result import CoordinateCheck as CoordinateCheck
    from lossdoctor.probes.numerical.result import GradientCheckResult as GradientCheckResult
    from lossdoctor.probes.overfit.check import overfit_one_batch as overfit_one_batch
    from lossdoctor.probes.overfit.check import overfit_subset as overfit_subset
    from lossdoctor.probes.overfit.result import OverfitResult as OverfitResult
    from lossdoctor.probes.overfit.result import OverfitSubsetResult as OverfitSubsetResult
    from lossdoctor.probes.relevance.inputs import RandomInputResult as RandomInputResult
    from lossdoctor.probes.relevance.inputs import random_input_test as random_input_test
    from lossdoctor.probes.relevance.labels import ShuffledLabelResult as ShuffledLabelResult
    from lossdoctor.probes.relevance.labels import shuffled_label_test as shuffled_label_test
    from lossdoctor.probes.result import ProbeResult as ProbeResult
    from lossdoctor.probes.resume.check import resume_test as resume_test
    from lossdoctor.probes.resume.result import ResumeResult as ResumeResult
    from lossdoctor.probes.shuffle.check import shuffle_test as shuffle_test
    from lossdoctor.probes.shuffle.result import ShuffleResult as ShuffleResult
    from lossdoctor.probes.splits.check import SplitsResult as SplitsResult
    from lossdoctor.probes.splits.check import compare_splits as compare_splits

# Function -> the file that holds it. Everything is imported on use: torch comes with the first test.
_EXPORTS = {
    "CheckupReport": "lossdoctor.probes.checkups.report",
    "CoordinateCheck": "lossdoctor.probes.numerical.result",
    "CurvatureResult": "lossdoctor.probes.hessian.check",
    "DataFinding": "lossdoctor.probes.data.finding",
    "DataResult": "lossdoctor.probes.data.result",
    "EvalModeResult": "lossdoctor.probes.modes.verdict",
    "GradientCheckResult": "lossdoctor.probes.numerical.result",
    "GradientsResult": "lossdoctor.probes.gradients.result",
    "InitialLossResult": "lossdoctor.probes.initial_loss.check",
    "LRRangeResult": "lossdoctor.probes.learning_rate.range",
    "LRTrialResult": "lossdoctor.probes.learning_rate.trial",
    "LayerGradient": "lossdoctor.probes.gradients.result",
    "LossSuggestion": "lossdoctor.probes.data.loss_choice",
    "NoiseScaleResult": "lossdoctor.probes.noise_scale.check",
    "OverfitResult": "lossdoctor.probes.overfit.result",
    "OverfitSubsetResult": "lossdoctor.probes.overfit.result",
    "ProbeResult": "lossdoctor.probes.result",
    "RandomInputResult": "lossdoctor.probes.relevance.inputs",
    "ResumeResult": "lossdoctor.probes.resume.result",
    "ShuffleResult": "lossdoctor.probes.shuffle.result",
    "ShuffledLabelResult": "lossdoctor.probes.relevance.labels",
    "SplitsResult": "lossdoctor.probes.splits.check",
    "Target": "lossdoctor.probes.checkups.target",
    "check_data": "lossdoctor.probes.data.front",
    "check_gradients": "lossdoctor.probes.gradients.check",
    "check_initial_loss": "lossdoctor.probes.initial_loss.check",
    "checkup": "lossdoctor.probes.checkups.run",
    "compare_splits": "lossdoctor.probes.splits.check",
    "curvature": "lossdoctor.probes.hessian.check",
    "eval_mode_gap": "lossdoctor.probes.modes.check",
    "gradient_check": "lossdoctor.probes.numerical.check",
    "gradient_noise_scale": "lossdoctor.probes.noise_scale.check",
    "lr_range_test": "lossdoctor.probes.learning_rate.range",
    "lr_trial": "lossdoctor.probes.learning_rate.trial",
    "overfit_one_batch": "lossdoctor.probes.overfit.check",
    "overfit_subset": "lossdoctor.probes.overfit.check",
    "random_input_test": "lossdoctor.probes.relevance.inputs",
    "resume_test": "lossdoctor.probes.resume.check",
    "shuffle_test": "lossdoctor.probes.shuffle.check",
    "shuffled_label_test": "lossdoctor.probes.relevance.labels",
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
