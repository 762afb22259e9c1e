"""Does a run go on after a resume as if nothing had been."""
