"""Colours of pictures and pages. Train and validation differ by line style and marker too, for those who see no hue.

The hues are Okabe and Ito's colour-blind-safe set, lightened on dark ground to keep contrast.
"""

from __future__ import annotations

from dataclasses import dataclass

from lossdoctor.core.errors import UsageError


@dataclass(frozen=True, slots=True)
class Style:
    """The colours of one ground."""

    ground: str
    ink: str
    soft: str
    grid: str
    train: str
    val: str
    gap: str
    lr: str
    grad: str
    critical: str
    warning: str
    info: str
    good: str
    cycle: tuple[str, ...]

    def severity(self, severity: str) -> str:
        """The colour of a finding."""
        return {"critical": self.critical, "warning": self.warning, "info": self.info}[severity]


STYLES = {
    "light": Style(
        *("#ffffff", "#1b1f24", "#57606a", "#d8dee4"),
        train="#0072B2",
        val="#C04A00",
        gap="#E69F00",
        lr="#00795A",
        grad="#9A4A80",
        critical="#B3261E",
        warning="#8A5A00",
        info="#3A6EA5",
        good="#00795A",
        cycle=("#0072B2", "#C04A00", "#00795A", "#9A4A80", "#8A6D00", "#1B7FA8", "#57606a", "#000000"),
    ),
    "dark": Style(
        *("#14181d", "#e6edf3", "#9da7b3", "#30363d"),
        train="#56B4E9",
        val="#F5A742",
        gap="#E69F00",
        lr="#3DD6A3",
        grad="#E39AC6",
        critical="#FF8A80",
        warning="#F0C24B",
        info="#8CC4FF",
        good="#3DD6A3",
        cycle=("#56B4E9", "#F5A742", "#3DD6A3", "#E39AC6", "#F0E442", "#8CC4FF", "#9da7b3", "#ffffff"),
    ),
}
DASHES = ("solid", (0, (5, 1.6)), (0, (1.2, 1.2)), (0, (5, 1.5, 1.2, 1.5)))


def style_named(name: str) -> Style:
    """A style by its name; raises UsageError on another."""
    if name not in STYLES:
        raise UsageError(f"unknown style {name!r}; styles are {', '.join(STYLES)}")
    return STYLES[name]
