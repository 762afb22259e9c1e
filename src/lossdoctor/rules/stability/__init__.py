"""LD1xx: stability."""

from lossdoctor.rules.stability.loss_divergence import LossDivergence
from lossdoctor.rules.stability.loss_nonfinite import LossNonfinite
from lossdoctor.rules.stability.loss_spike import LossSpike
from lossdoctor.rules.stability.nonfinite_masked import NonfiniteMasked
from lossdoctor.rules.stability.oscillation import Oscillation

RULES = (LossNonfinite, LossDivergence, LossSpike, Oscillation, NonfiniteMasked)
