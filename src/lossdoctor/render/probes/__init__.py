"""Results of active tests as pictures, text, pages, and what a notebook shows.

>>> from lossdoctor.probes.result import ProbeResult
>>> print(text([ProbeResult(outcome="failed", verdict="The loss is NaN. Look for a division by zero.")], 40))
✗ failed  ProbeResult
    The loss is NaN. Look for a division
    by zero.
"""

from lossdoctor.render.probes.document import page
from lossdoctor.render.probes.fragments import notebook
from lossdoctor.render.probes.pictures import plot
from lossdoctor.render.probes.terminal import print_checkup, report_text, text

__all__ = ["notebook", "page", "plot", "print_checkup", "report_text", "text"]
