"""LD1xx: stability."""

from lossdoctor.rules.stability.clipping_saturated import ClippingSaturated
from lossdoctor.rules.stability.gradient_explosion import GradientExplosion
from lossdoctor.rules.stability.gradient_vanishing import GradientVanishing
from lossdoctor.rules.stability.loss_divergence import LossDivergence
from lossdoctor.rules.stability.loss_nonfinite import LossNonfinite
from lossdoctor.rules.stability.loss_spike import LossSpike
from lossdoctor.rules.stability.nonfinite_masked import NonfiniteMasked
from lossdoctor.rules.stability.oscillation import Oscillation
from lossdoctor.rules.stability.resume_jump import ResumeJump
from lossdoctor.rules.stability.warmup_instability import WarmupInstability

RULES = (
    *(LossNonfinite, LossDivergence, LossSpike, Oscillation, GradientExplosion, GradientVanishing, NonfiniteMasked),
    *(ClippingSaturated, ResumeJump, WarmupInstability),
)
