"""The parts of the plain-text reader: lines -> shapes -> rows -> steps -> curves."""
