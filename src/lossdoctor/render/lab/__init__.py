"""Draws what the lab computed: pictures, films and pages of panels, experiments, descents, maps and landscapes.

>>> from lossdoctor import lab
>>> from lossdoctor.render.lab import draw
>>> len(draw(lab.descend("himmelblau", lr=0.1, starts=3)).axes)
2
"""

from lossdoctor.render.lab.show import draw, save

__all__ = ["draw", "save"]
