"""Draws what the lab computed: pictures, films and pages of panels, experiments and descents. See ``docs/lab.md``."""
