"""LD3xx: generalisation."""

from lossdoctor.rules.generalization.overfitting import Overfitting
from lossdoctor.rules.generalization.underfitting import Underfitting

RULES = (Overfitting, Underfitting)
