"""Writes the gallery of the lab, docs/lab-gallery.md and its pictures, by running the commands it shows.

python docs/images/lab/make.py            all of it: some minutes, for some experiments train networks
python docs/images/lab/make.py NAME…      only these pictures
"""

from __future__ import annotations

import contextlib
import io
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
PAGE = HERE.parents[1] / "lab-gallery.md"
LARGEST = 60_000  # bytes of one picture
COLORS = 128


@dataclass(frozen=True)
class Shown:
    """One picture: its file, the words above it, and the command (without ``-o``) that draws it."""

    file: str
    title: str
    command: str
    about: str = ""

    @property
    def words(self) -> list[str]:
        """The command as arguments of ``lossdoctor``."""
        return shlex.split(self.command)


SECTIONS: dict[str, tuple[Shown, ...]] = {
    "Loss functions": (
        Shown("loss_functions.png", "Shapes: what an error costs, how hard it pulls", "lab run loss_functions"),
        Shown("outlier.png", "One outlier, and what it does to each fit", "lab run outlier"),
    ),
    "Downhill": (
        Shown("blind_hiker.png", "The blind hiker on x² − 4x + 5", "lab run blind_hiker"),
        Shown("step_table.png", "(w − 3)² at 0.1, 0.9 and 0.01, step by step", "lab run step_table"),
        Shown("revenue.png", "Revenue over ad spend and discount", "lab run revenue"),
        Shown("house_prices.png", "House prices: raw inputs and scaled ones", "lab run house_prices"),
        Shown("missing_values.png", "Missing values in the inputs", "lab run missing_values"),
        Shown("double_well.png", "Two wells, five starts, with and without momentum", "lab run double_well"),
    ),
    "Learning rates": (
        Shown("learning_rates.png", "Four rates on one bowl", "lab run learning_rates"),
        Shown("critical_rate.png", "Where it breaks", "lab run critical_rate"),
        Shown("overflow.png", "Beyond it: Inf, then NaN", "lab run overflow"),
        Shown("lr_range_test.png", "The range test", "lab run lr_range_test"),
        Shown("schedules.png", "Schedules", "lab run schedules"),
        Shown(
            "sweep.png",
            "Any surface at several rates",
            "lab run rosenbrock --optimizer momentum --lr 0.00003,0.0001,0.0003,0.001 --start=-1.5,2 --steps 400",
        ),
    ),
    "Landscapes": (
        Shown("himmelblau.png", "Himmelblau from above, four starts", "lab run himmelblau"),
        Shown("himmelblau_space.png", "The same in space", "lab run himmelblau --view space"),
        Shown(
            "himmelblau_dark.png",
            "200 starts, in the dark style",
            "lab run himmelblau --starts 200 --style dark --seed 1",
        ),
        Shown("basins.png", "Basins of attraction", "lab basins himmelblau --lr 0.01 --resolution 256"),
        Shown("saddle.png", "On the ridge of a saddle", "lab run saddle"),
        Shown("plateau_crossing.png", "Across a plateau", "lab run plateau_crossing"),
        Shown(
            "film.gif",
            "A film",
            "lab run ravine --optimizer sgd,momentum,adam --lr 0.018 --condition 100 --start=-4,1.5 --steps 60 "
            "--frames 14 --width 158 --fps 4",
            "To play, slide and turn it in a browser: `-o film.html`.",
        ),
    ),
    "Optimizers": (
        Shown("optimizers.png", "SGD, momentum, RMSProp and Adam", "lab run optimizers"),
        Shown("momentum.png", "What momentum does", "lab run momentum"),
        Shown("adam_first_steps.png", "Adam's first steps", "lab run adam_first_steps"),
        Shown("ravine.png", "A ravine", "lab run ravine --kind experiment"),
    ),
    "Batches": (
        Shown("batch_variants.png", "Batch, stochastic and mini-batch", "lab run batch_variants"),
        Shown("mini_batch.png", "Mini-batch against full batch", "lab run mini_batch"),
        Shown("gradient_noise.png", "The noise of the gradient", "lab run gradient_noise"),
        Shown("linear_scaling.png", "Batch size against learning rate", "lab run linear_scaling"),
        Shown("growing_batch.png", "A batch that grows", "lab run growing_batch"),
        Shown("sharp_flat.png", "Sharp and flat minima", "lab run sharp_flat"),
    ),
    "Training runs, really trained": (
        Shown("four_patterns.png", "Healthy, overfitting, underfitting, rate too high", "lab run four_patterns"),
        Shown("more_patterns.png", "Explosion, flat line, slow descent", "lab run more_patterns"),
        Shown("overfitting_remedies.png", "Remedies for overfitting", "lab run overfitting_remedies"),
        Shown("warmup.png", "Warmup", "lab run warmup"),
        Shown("normalisation.png", "Normalisation", "lab run normalisation"),
        Shown("gradient_clipping.png", "Gradient clipping", "lab run gradient_clipping"),
        Shown("fp16_overflow.png", "Overflow in float16", "lab run fp16_overflow"),
        Shown("initialisation.png", "Initialisation", "lab run initialisation"),
        Shown("seed_variance.png", "The variance over seeds", "lab run seed_variance"),
        Shown("loss_vs_metric.png", "A loss against a metric", "lab run loss_vs_metric"),
        Shown("smoothing_augmentation.png", "Smoothed labels, shifted copies", "lab run smoothing_augmentation"),
    ),
}


def every() -> list[Shown]:
    """All pictures in the order of the page."""
    return [one for group in SECTIONS.values() for one in group]


def page() -> str:
    """The text of docs/lab-gallery.md."""
    lines = [
        "# Gallery of the lab",
        "",
        "Every picture below was drawn by the command under it; `docs/images/lab/make.py` runs them all. Add `-o FILE`",
        "to draw it yourself: `.png`, `.svg`, `.pdf`, `.gif`, `.mp4`, or an `.html` page that plays. What the commands",
        "can do is told in [the lab](lab.md).",
    ]
    for section, group in SECTIONS.items():
        lines += ["", f"## {section}"]
        for one in group:
            lines += ["", f"### {one.title}", "", f"![{one.title}](images/lab/{one.file})", ""]
            lines += [one.about, ""] if one.about else []
            lines += ["```console", f"$ lossdoctor {one.command}", "```"]
    return "\n".join(lines) + "\n"


def draw(one: Shown) -> Path:
    """Run the command of a picture and make its file small."""
    from lossdoctor.cli.app import run

    target = HERE / one.file
    dpi = [] if target.suffix == ".gif" else ["--dpi", "110"]
    with contextlib.redirect_stdout(io.StringIO()):
        code = run([*one.words, *dpi, "-o", str(target)])
    if code != 0:
        raise SystemExit(f"lossdoctor {one.command} left with {code}")
    if target.suffix == ".png":
        shrink(target)
    size = target.stat().st_size
    if size > LARGEST:
        raise SystemExit(f"{one.file} has {size:,} bytes; at most {LARGEST:,}")
    return target


def shrink(target: Path) -> None:
    """A palette that keeps the colours of all lines: few pixels have them, and one by frequency would lose them."""
    from PIL import Image

    with Image.open(target) as image:
        small = image.convert("RGB").quantize(COLORS, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    small.save(target, optimize=True)


def main(names: list[str]) -> None:
    """The page, and all pictures or those named."""
    PAGE.write_text(page(), "utf-8")
    for one in every():
        if not names or one.file in names or Path(one.file).stem in names:
            print(f"{one.file}: {draw(one).stat().st_size:,} bytes")
    if not names:
        for old in {p for p in HERE.iterdir() if p.suffix in (".png", ".gif")} - {HERE / one.file for one in every()}:
            old.unlink()


if __name__ == "__main__":
    main(sys.argv[1:])
