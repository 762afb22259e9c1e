"""LD4xx: data and log."""

from lossdoctor.rules.log.step_axis_broken import StepAxisBroken

RULES = (StepAxisBroken,)
