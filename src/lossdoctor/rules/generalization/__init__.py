"""LD3xx: generalisation."""

from lossdoctor.rules.generalization.batchnorm_mismatch import BatchnormMismatch
from lossdoctor.rules.generalization.best_checkpoint_early import BestCheckpointEarly
from lossdoctor.rules.generalization.epoch_staircase import EpochStaircase
from lossdoctor.rules.generalization.generalization_gap import GeneralizationGap
from lossdoctor.rules.generalization.loss_accuracy_disagree import LossAccuracyDisagree
from lossdoctor.rules.generalization.overfitting import Overfitting
from lossdoctor.rules.generalization.underfitting import Underfitting
from lossdoctor.rules.generalization.validation_below_training import ValidationBelowTraining
from lossdoctor.rules.generalization.validation_noisy import ValidationNoisy

RULES = (
    *(Overfitting, Underfitting, GeneralizationGap, ValidationBelowTraining, ValidationNoisy),
    *(BestCheckpointEarly, LossAccuracyDisagree, EpochStaircase, BatchnormMismatch),
)
