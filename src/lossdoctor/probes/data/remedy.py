"""Remedies in code: ready lines to paste, and pipelines of scikit-learn that are fitted on the spot."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from lossdoctor.core.errors import UsageError

# Name -> the steps of a pipeline, in the order in which they are applied.
PIPELINES = {
    "impute": ("impute",),
    "impute-standardize": ("impute", "standardize"),
    "standardize": ("standardize",),
    "robust": ("robust",),
    "impute-robust": ("impute", "robust"),
    "log": ("log", "standardize"),
    "sentinel": ("sentinel", "standardize"),
}
_IMPORTS = {
    "impute": "from sklearn.impute import SimpleImputer",
    "sentinel": "from sklearn.impute import SimpleImputer",
    "standardize": "from sklearn.preprocessing import StandardScaler",
    "robust": "from sklearn.preprocessing import RobustScaler",
    "log": "from sklearn.preprocessing import PowerTransformer",
}


@dataclass(frozen=True, kw_only=True)
class Remedy:
    """What to do against a finding.

    Attributes:
        what: one sentence.
        code: lines that do it, ready to paste; ``x_train`` and ``x_val`` stand for the inputs.
        in_torch: the same on tensors, without scikit-learn; "" where there is no such.
        pipeline: which pipeline :meth:`fix` builds; "" where there is none.
        missing: the value that stands for a missing one (NaN where it is NaN).
    """

    what: str
    code: str = ""
    in_torch: str = ""
    pipeline: str = ""
    missing: float = float("nan")

    def fix(self, x: Any) -> Any:
        """A pipeline of scikit-learn, fitted on these inputs: ``.transform(x_val)`` applies it to others.

        Fit it on the training inputs alone: what it learns of the validation inputs would leak.

        Args:
            x: training inputs ``(examples, features)``: an array, a tensor or a frame of numbers.

        Raises:
            UsageError: scikit-learn is not installed (the extra ``sklearn``), or this remedy is no pipeline.

        >>> pipeline = Remedy(what="Fill the gaps.", pipeline="impute").fix([[1.0], [float("nan")], [3.0]])
        >>> pipeline.transform([[float("nan")]]).tolist()  # the median, and that it was missing
        [[2.0, 1.0]]
        """
        if not self.pipeline:
            raise UsageError(f"this remedy is no pipeline; do it by hand: {self.what}")
        try:
            from sklearn.pipeline import make_pipeline
        except ImportError as error:
            raise UsageError(
                "fix() needs scikit-learn, which is not installed; run: pip install 'lossdoctor[sklearn]'"
            ) from error
        from lossdoctor.probes.data.arrays import is_array, is_frame, to_numpy

        values = x if is_frame(x) else to_numpy(x) if is_array(x) else np.asarray(x, dtype=np.float64)
        if not is_frame(x) and values.ndim != 2:
            values = values.reshape(len(values), -1)
        return make_pipeline(*(_step(name, self.missing) for name in PIPELINES[self.pipeline])).fit(values)


def _step(name: str, missing: float) -> Any:
    from sklearn.impute import SimpleImputer
    from sklearn.preprocessing import PowerTransformer, RobustScaler, StandardScaler

    if name == "impute":
        return SimpleImputer(strategy="median", add_indicator=True, keep_empty_features=True)
    if name == "sentinel":
        return SimpleImputer(missing_values=missing, strategy="median", add_indicator=True, keep_empty_features=True)
    if name == "log":
        return PowerTransformer(method="yeo-johnson", standardize=False)
    return RobustScaler(unit_variance=True) if name == "robust" else StandardScaler()


_STANDARDIZE = "mean, std = x_train.mean(0), x_train.std(0).clamp_min(1e-12)\nx = (x - mean) / std"
IN_TORCH = {
    "impute-standardize": (
        "gap = torch.isnan(x)  # a mask and an indicator: zero is the mean only once the inputs are standardised\n"
        "mean = x_train.nanmean(0)\n"
        "std = (x_train - mean).square().nanmean(0).sqrt().clamp_min(1e-12)\n"
        "x = torch.cat([torch.where(gap, 0.0, (x - mean) / std), gap.float()], dim=1)"
    ),
    "standardize": _STANDARDIZE,
    "robust": (
        "low, middle, high = torch.quantile(x_train, torch.tensor([0.25, 0.5, 0.75], dtype=x_train.dtype), dim=0)\n"
        "x = (x - middle) / ((high - low) / 1.349).clamp_min(1e-12)"
    ),
    "log": "x = torch.sign(x) * torch.log1p(x.abs())\n# then standardise",
}


def pipeline(what: str, name: str, *, missing: float = float("nan")) -> Remedy:
    """A remedy by a pipeline, with its lines of code."""
    steps = PIPELINES[name]
    given = "" if np.isnan(missing) else f"missing_values={missing:g}, "
    calls = {
        "impute": 'SimpleImputer(strategy="median", add_indicator=True)',
        "sentinel": f'SimpleImputer({given}strategy="median", add_indicator=True)',
        "standardize": "StandardScaler()",
        "robust": "RobustScaler(unit_variance=True)",
        "log": 'PowerTransformer(method="yeo-johnson", standardize=False)',
    }
    lines = ["from sklearn.pipeline import make_pipeline", *dict.fromkeys(_IMPORTS[s] for s in steps)]
    lines += [
        f"prepare = make_pipeline({', '.join(calls[s] for s in steps)})",
        "x_train = prepare.fit_transform(x_train)  # fitted on the training part alone",
        "x_val = prepare.transform(x_val)",
    ]
    return Remedy(what=what, code="\n".join(lines), in_torch=IN_TORCH.get(name, ""), pipeline=name, missing=missing)
