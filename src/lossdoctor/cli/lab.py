"""``lossdoctor lab``: see what the lab has, run it, draw it, film it, and read the guides."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from lossdoctor.cli.complete import completing
from lossdoctor.cli.io import choose, pairs, progress, say
from lossdoctor.core.errors import LossdoctorError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

LIST_FORMATS = ("text", "json")

app = typer.Typer(name="lab", no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def lab() -> None:
    """The descent lab: surfaces, optimizers, schedules, loss functions and experiments, to see and to play with."""


@app.command("list")
def list_(
    kind: Annotated[
        str | None,
        typer.Argument(metavar="[KIND]", help="Only experiments, surfaces, losses, optimizers or schedules."),
    ] = None,
    format: Annotated[
        str,
        typer.Option(
            "--format", "-f", metavar="FORMAT", autocompletion=completing(*LIST_FORMATS), help="text or json."
        ),
    ] = "text",
) -> None:
    """List what the lab has: experiments, surfaces, loss functions, optimizers and schedules."""
    from lossdoctor.cli.lab_names import KINDS, listing

    _needs_torch()
    format = choose("format", format, LIST_FORMATS)
    kinds = [choose("kind", kind, KINDS)] if kind else list(KINDS)
    found = {k: listing(k) for k in kinds}
    if format == "json":
        from lossdoctor.render.jsonout import to_json

        say(to_json(found, indent=True))
        return
    from rich.text import Text

    from lossdoctor.render.text import make_console
    from lossdoctor.render.text_run import print_hanging

    console = make_console()
    wide = max(len(row["name"]) for rows in found.values() for row in rows) + 2
    for i, (name, rows) in enumerate(found.items()):
        console.print(Text(("\n" if i else "") + name.capitalize(), "bold"))
        for row in rows:
            print_hanging(console, Text(f"  {row['name']:<{wide}}"), Text(row["about"].rstrip(".")))
    if kind is None:
        console.print(Text("\nRun one: lossdoctor lab run NAME. A guide: lossdoctor lab guide.", "dim"))


@app.command("run", no_args_is_help=True, context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def run(
    ctx: typer.Context,
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="An experiment, a surface or a loss function; see `lab list`.")
    ],
    lr: Annotated[
        str | None, typer.Option(metavar="RATE[,RATE…]", help="Learning rate, or several to compare.")
    ] = None,
    optimizer: Annotated[
        str | None, typer.Option(metavar="NAME[,NAME…]", help="Optimizer, or several to compare.")
    ] = None,
    steps: Annotated[str | None, typer.Option(metavar="N", help="Steps of the descent.")] = None,
    starts: Annotated[
        str | None, typer.Option(metavar="N", help="How many starts, drawn from the surface's domain.")
    ] = None,
    start: Annotated[
        list[str] | None, typer.Option(metavar="X,Y", help="A start (of one coordinate: X); repeatable.")
    ] = None,
    noise: Annotated[str | None, typer.Option(metavar="SD", help="Noise on the gradient, as of a mini-batch.")] = None,
    schedule: Annotated[str | None, typer.Option(metavar="NAME", help="Schedule of the learning rate.")] = None,
    clip: Annotated[str | None, typer.Option(metavar="NORM", help="Largest norm of a gradient.")] = None,
    seed: Annotated[str | None, typer.Option(metavar="N", help="Seed of everything drawn at random.")] = None,
    option: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            "-s",
            metavar="KEY=VALUE",
            help="Another option of the experiment, the surface, the optimizer or (schedule.KEY) the schedule; "
            "also as --KEY VALUE; repeatable.",
        ),
    ] = None,
    output: Annotated[
        list[str] | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="Draw to .png, .svg or .pdf, film to .gif or .mp4, or write an .html page that plays; repeatable.",
        ),
    ] = None,
    kind: Annotated[
        str | None,
        typer.Option(
            metavar="KIND",
            autocompletion=completing("experiment", "surface", "loss"),
            help="What NAME is, where it is several: experiment, surface or loss.",
        ),
    ] = None,
    style: Annotated[
        str, typer.Option(metavar="STYLE", autocompletion=completing("light", "dark"), help="light or dark.")
    ] = "light",
    view: Annotated[
        str,
        typer.Option(
            metavar="VIEW",
            autocompletion=completing("plane", "space"),
            help="Surfaces in pictures: from above (plane) or in space.",
        ),
    ] = "plane",
    width: Annotated[float | None, typer.Option(metavar="MM", help="Width of a picture, 60 to 600 mm.")] = None,
    dpi: Annotated[int, typer.Option(min=30, max=600, help="Dots per inch of a PNG.")] = 200,
    frames: Annotated[int, typer.Option(min=2, max=400, help="Most frames of a film.")] = 120,
    fps: Annotated[int, typer.Option(min=1, max=50, help="Frames a second of a film.")] = 15,
    format: Annotated[
        str,
        typer.Option(
            "--format", "-f", metavar="FORMAT", autocompletion=completing(*LIST_FORMATS), help="text or json."
        ),
    ] = "text",
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Each diagnosis in full.")] = False,
) -> None:
    """Run an experiment, descend a surface, or look at a loss function; tell, draw, film and diagnose it.

    A name that an experiment and a surface share is the experiment, unless an option is given that only a descent
    takes; ``--kind surface`` decides. A descent not told otherwise takes 4 starts, 300 steps, adam and a rate of 0.05.
    """
    from lossdoctor.cli.lab_names import RUNNABLE, meant
    from lossdoctor.cli.lab_output import as_dict, check_suffix, write
    from lossdoctor.cli.lab_run import made
    from lossdoctor.render.lab.show import OUTPUTS

    _needs_torch()
    format = choose("format", format, LIST_FORMATS)
    style, view = choose("style", style, ("light", "dark")), choose("view", view, ("plane", "space"))
    for path in output or ():
        check_suffix(path, OUTPUTS)
    shared = {
        "lr": lr, "optimizer": optimizer, "steps": steps, "starts": starts, "noise": noise, "schedule": schedule,
        "clip": clip, "seed": seed, "start": ";".join(start) if start else None,
    }  # fmt: skip
    given = {key: text for key, text in shared.items() if text is not None}
    own = {**pairs(option or (), "--set", "KEY=VALUE"), **_flags(ctx.args)}
    own = {key.replace("-", "_"): text for key, text in own.items()}
    chosen, plain = meant(name, choose("kind", kind, RUNNABLE) if kind else None, {*given, *own})
    with progress(f"running {plain}") as told:
        found = made(chosen, plain, given, own, told)
    diagnoses = {label: history.diagnose() for label, history in found.runs.items()}
    if format == "json":
        from lossdoctor.render.jsonout import to_json

        say(to_json(as_dict(chosen, found, diagnoses), indent=True))
    else:
        from lossdoctor.render.lab.text import print_experiment
        from lossdoctor.render.text import make_console

        print_experiment(found, diagnoses, make_console(), verbose=verbose)
    for path in output or ():
        write(path, found, diagnoses, style=style, view=view, width=width, dpi=dpi, frames=frames, fps=fps)


@app.command("guide")
def guide(
    topic: Annotated[
        str | None, typer.Argument(metavar="[TOPIC]", help="Which guide; without one, all are listed.")
    ] = None,
    format: Annotated[
        str,
        typer.Option(
            "--format", "-f", metavar="FORMAT", autocompletion=completing(*LIST_FORMATS), help="text or json."
        ),
    ] = "text",
) -> None:
    """Print a guide: which optimizer, which learning rate, which batch size, each row with its source."""
    from lossdoctor.lab import guide as guides
    from lossdoctor.render.jsonout import to_json
    from lossdoctor.render.text import make_console

    format = choose("format", format, LIST_FORMATS)
    chosen = [guides.topic(topic)] if topic else [guides.topic(name) for name in guides.topics()]
    if format == "json":
        rows = {t.name: [dict(zip(t.table.columns, row, strict=True)) for row in t.table.rows] for t in chosen}
        say(to_json(rows, indent=True))
        return
    console = make_console()
    if topic:
        from lossdoctor.render.lab.text import print_topic

        print_topic(chosen[0], console)
        return
    from rich.text import Text

    from lossdoctor.render.text_run import print_hanging

    wide = max(len(t.name) for t in chosen) + 2
    for t in chosen:
        print_hanging(console, Text(f"  {t.name:<{wide}}"), Text(t.title))
    console.print(Text("\nRead one: lossdoctor lab guide TOPIC.", "dim"))


@app.command("basins", no_args_is_help=True)
def basins(
    name: Annotated[str, typer.Argument(metavar="SURFACE", help="A surface of two coordinates.")],
    output: Annotated[
        str, typer.Option("--output", "-o", metavar="FILE", help="Where to draw the map: .png, .svg, .pdf or .html.")
    ] = "basins.png",
    optimizer: Annotated[str, typer.Option(metavar="NAME", help="Optimizer.")] = "sgd",
    lr: Annotated[
        float | None, typer.Option(metavar="RATE", help="Learning rate; the optimizer's own if not given.")
    ] = None,
    steps: Annotated[int, typer.Option(metavar="N", help="Steps from each point.")] = 500,
    resolution: Annotated[int, typer.Option(metavar="N", min=2, max=2048, help="Points along each side.")] = 512,
    style: Annotated[
        str, typer.Option(metavar="STYLE", autocompletion=completing("light", "dark"), help="light or dark.")
    ] = "light",
    width: Annotated[float | None, typer.Option(metavar="MM", help="Width of the picture, 60 to 600 mm.")] = None,
    dpi: Annotated[int, typer.Option(min=30, max=600, help="Dots per inch of a PNG.")] = 200,
) -> None:
    """Map the basins of attraction: from every point of the plane, which minimum a descent ends at, and how soon."""
    _needs_torch()
    from lossdoctor.cli.lab_basins import basins_experiment
    from lossdoctor.cli.lab_output import check_suffix, write
    from lossdoctor.render.lab.show import PICTURES
    from lossdoctor.render.lab.text import print_experiment
    from lossdoctor.render.text import make_console

    style = choose("style", style, ("light", "dark"))
    check_suffix(output, (*PICTURES, ".html"))
    with progress("starts' steps") as told:
        found = basins_experiment(name, optimizer, lr, steps, resolution, told)
    print_experiment(found, {}, make_console())
    write(output, found, {}, style=style, width=width, dpi=dpi)


def _needs_torch() -> None:
    from importlib.util import find_spec

    if find_spec("torch") is None:
        raise LossdoctorError("the lab needs torch, which is not installed; run: pip install 'lossdoctor[lab]'")


def _flags(arguments: Sequence[str]) -> dict[str, str]:
    """``--key value``, ``--key=value`` and ``--key`` (true) that no command declares; UsageError on a stray word."""
    out: dict[str, str] = {}
    rest = list(arguments)
    while rest:
        flag = rest.pop(0)
        if not flag.startswith("--") or len(flag) < 3:
            raise UsageError(f"unexpected argument {flag!r}; options are given as --KEY VALUE or -s KEY=VALUE")
        key, equals, value = flag[2:].partition("=")
        if not equals:
            value = rest.pop(0) if rest and not rest[0].startswith("--") else "true"
        out[key] = value
    return out
