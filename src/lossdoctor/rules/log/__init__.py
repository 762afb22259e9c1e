"""LD4xx: data and log."""

from lossdoctor.rules.log.epoch_sawtooth import EpochSawtooth
from lossdoctor.rules.log.learning_rate_jump import LearningRateJump
from lossdoctor.rules.log.log_truncated import LogTruncated
from lossdoctor.rules.log.loss_negative import LossNegative
from lossdoctor.rules.log.step_axis_broken import StepAxisBroken

RULES = (EpochSawtooth, StepAxisBroken, LogTruncated, LearningRateJump, LossNegative)
