"""LD4xx: data and log."""

from lossdoctor.rules.log.log_truncated import LogTruncated
from lossdoctor.rules.log.loss_negative import LossNegative
from lossdoctor.rules.log.step_axis_broken import StepAxisBroken

RULES = (StepAxisBroken, LogTruncated, LossNegative)
