"""LD2xx: progress."""

from lossdoctor.rules.progress.dead_units import DeadUnits
from lossdoctor.rules.progress.flat_line import FlatLine
from lossdoctor.rules.progress.initial_loss_wrong import InitialLossWrong
from lossdoctor.rules.progress.learning_rate_decayed_early import LearningRateDecayedEarly
from lossdoctor.rules.progress.loss_collapsed import LossCollapsed
from lossdoctor.rules.progress.plateau import Plateau
from lossdoctor.rules.progress.plateau_then_drop import PlateauThenDrop
from lossdoctor.rules.progress.slow_descent import SlowDescent
from lossdoctor.rules.progress.stopped_too_early import StoppedTooEarly
from lossdoctor.rules.progress.stuck_at_chance import StuckAtChance

RULES = (
    *(FlatLine, StuckAtChance, SlowDescent, Plateau, StoppedTooEarly),
    *(LearningRateDecayedEarly, InitialLossWrong, LossCollapsed, PlateauThenDrop, DeadUnits),
)
