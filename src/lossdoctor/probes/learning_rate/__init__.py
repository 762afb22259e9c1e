"""Learning rates tried: a sweep over all of them, and short runs beside the present one."""
