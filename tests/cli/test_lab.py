"""``lossdoctor lab``: lists, runs, guides and maps; who asks for what is not there is told the next step."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest

from lossdoctor.cli.lab_names import KINDS, meant
from lossdoctor.cli.lab_run import DESCENT
from lossdoctor.lab.experiments import Spec
from lossdoctor.lab.result import Experiment, Line, Panel
from tests.cli.support import Invoke, shell

pytest.importorskip("torch")
ROOT = Path(__file__).parents[2]


@pytest.fixture
def invoke(invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> Invoke:
    """As everywhere, in a terminal of 80 columns."""
    monkeypatch.setenv("COLUMNS", "80")
    return invoke


def widest(text: str) -> int:
    return max(map(len, text.splitlines()))


def test_list_names_everything_within_80_columns(invoke: Invoke) -> None:
    done = invoke("lab", "list")
    assert done.code == 0
    assert done.err == ""
    assert widest(done.out) <= 80
    for name in ("himmelblau", "double_well", "nesterov", "warmup_cosine", "huber", "four_patterns"):
        assert f"  {name} " in done.out
    for kind in KINDS:
        assert kind.capitalize() in done.out


def test_list_as_json_holds_what_can_be_set(invoke: Invoke) -> None:
    found = json.loads(invoke("lab", "list", "--format", "json").out)
    assert set(found) == set(KINDS)
    by_name = {row["name"]: row for row in found["experiments"]}
    assert by_name["blind_hiker"]["options"]["lr"]["default"] == 0.1
    assert {"name", "about", "options"} == set(found["surfaces"][0])
    only = json.loads(invoke("lab", "list", "losses", "-f", "json").out)
    assert [row["name"] for row in only["losses"]][:3] == ["mse", "mae", "huber"]


def test_an_experiment_tells_its_tables_numbers_state_and_diagnosis(invoke: Invoke) -> None:
    done = invoke("lab", "run", "blind_hiker")
    assert done.code == 0
    assert widest(done.out) <= 80
    flat = " ".join(done.out.split())
    assert "x at the end 1.977" in flat
    assert "state still moving" in flat
    assert "Diagnosis of the loss curves" in flat


@pytest.mark.parametrize("words", [("--lr", "0.2"), ("--lr=0.2",), ("-s", "lr=0.2")])
def test_options_of_an_experiment_go_by_flag_or_by_set(invoke: Invoke, words: tuple[str, ...]) -> None:
    found = json.loads(invoke("lab", "run", "blind_hiker", *words, "--format", "json").out)
    assert found["numbers"]["factor per step"] == pytest.approx(0.6)


def test_flags_that_no_command_declares_reach_the_experiment(invoke: Invoke) -> None:
    found = json.loads(invoke("lab", "run", "learning-rates", "--rates", "0.2,1.2", "-f", "json").out)
    assert found["numbers"]["state, lr 1.2"] == "diverged"
    assert found["runs"]["lr 1.2"]["status"] == "critical"


def test_rates_and_optimizers_are_compared_and_their_states_computed(invoke: Invoke) -> None:
    words = "--lr 0.1,0.95,1.05 --optimizer sgd --start 0 --steps 60 -f json"
    done = invoke("lab", "run", "quadratic", *words.split())
    found = json.loads(done.out)
    assert found["kind"] == "surface"
    assert found["states"] == {"lr 0.1": ["monotone"], "lr 0.95": ["damped oscillation"], "lr 1.05": ["diverged"]}
    assert found["numbers"]["critical rate 2/λmax, lr 0.1"] == pytest.approx(1.0)
    assert found["runs"]["lr 1.05"]["status"] == "critical"
    assert found["runs"]["lr 0.1"]["status"] == "healthy"


def test_a_descent_takes_starts_noise_schedule_clip_seed_and_options(invoke: Invoke) -> None:
    words = "--optimizer momentum --momentum 0.5 --condition 10 --lr 0.05 --steps 50 --starts 40 --seed 3 --clip 5"
    words += " --noise 0.01 --schedule cosine -s schedule.floor=0.001"
    done = invoke("lab", "run", "ravine", "--kind", "surface", *words.split(), "-f", "json")
    assert done.code == 0, done.err
    found = json.loads(done.out)
    assert len(found["states"]["momentum"]) == 40
    again = invoke("lab", "run", "ravine", "--kind", "surface", *words.split(), "-f", "json")
    assert again.out == done.out


def test_a_shared_name_is_the_experiment_unless_only_a_descent_takes_the_option(invoke: Invoke) -> None:
    def kind(*words: str) -> str:
        return str(json.loads(invoke("lab", "run", "blind_hiker", *words, "-f", "json").out)["kind"])

    assert kind() == kind("--steps", "5") == "experiment"
    assert kind("--noise", "0.1") == kind("--kind", "surface") == "surface"


def test_a_loss_function_is_looked_at(invoke: Invoke) -> None:
    found = json.loads(invoke("lab", "run", "huber", "--delta", "2", "-f", "json").out)
    assert found["numbers"]["largest pull from -5 to 5"] == 2.0


@pytest.mark.parametrize("suffix", ["png", "svg", "pdf", "gif", "html"])
def test_outputs_are_written_whole(invoke: Invoke, tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"out.{suffix}"
    words = ("--steps", "6", "--frames", "4", "--dpi", "50", "--style", "dark", "-o", path)
    done = invoke("lab", "run", "quadratic", *words)
    assert (done.code, done.err) == (0, f"lossdoctor: wrote {path}\n")
    starts = {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF", "gif": b"GIF8", "html": b"<!doctype html>"}
    assert path.read_bytes().startswith(starts[suffix])
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_the_page_has_the_diagnosis(invoke: Invoke, tmp_path: Path) -> None:
    path = tmp_path / "out.html"
    invoke("lab", "run", "quadratic", "--lr", "1.2", "--optimizer", "sgd", "--start", "0", "--steps", "40", "-o", path)
    text = path.read_text("utf-8")
    assert "LD102" in text.partition("Diagnosis of the loss curve")[2]


def test_basins_are_mapped_with_their_shares(invoke: Invoke, tmp_path: Path) -> None:
    done = invoke(*"lab basins himmelblau --lr 0.01 --steps 200 --resolution 16 --dpi 50 -o map.png".split())
    assert done.code == 0
    assert (tmp_path / "map.png").is_file()
    assert "minima reached" in done.out
    shares = [float(word) for line in done.out.splitlines() if "%" in line for word in line.split("%")[0].split()[-1:]]
    assert sum(shares[1:]) == pytest.approx(100, abs=0.3)
    assert "\r" not in done.err  # no progress where that is no terminal


def test_guides_are_listed_and_printed_with_sources(invoke: Invoke) -> None:
    listed = invoke("lab", "guide")
    assert {"optimizers", "learning_rates", "batch_size"} <= set(listed.out.split())
    done = invoke("lab", "guide", "batch-size")
    assert widest(done.out) <= 80
    assert "goyal2017" in done.out
    rows = json.loads(invoke("lab", "guide", "optimizers", "-f", "json").out)["optimizers"]
    assert rows[0]["optimizer"] == "Adam"


def commands() -> list[str]:
    """Every command of the lab in the pages that tell of it."""
    text = "".join((ROOT / page).read_text("utf-8") for page in ("README.md", "docs/lab.md", "docs/lab-gallery.md"))
    return sorted(set(re.findall(r"^\$ lossdoctor (lab .+)$", text, re.MULTILINE)))


@pytest.mark.parametrize("command", commands())
def test_commands_of_the_pages_work(invoke: Invoke, monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    """Cut short: a descent by its steps, a map by its points; an experiment only as far as to check its options."""

    def checked(self: Spec, **options: object) -> Experiment:
        known = {o.name: o for o in self.options}
        for name, value in options.items():
            known[name].check(value)
        steps = np.arange(4.0)
        return Experiment(self.name, self.title, "", (Panel("", "x", "y", (Line("a", steps, steps),)),))

    monkeypatch.setattr(Spec, "__call__", checked)
    words = [w.replace(".html", ".png") for w in shlex.split(command)]
    if words[1] == "run":
        words += ["--dpi", "40", "--frames", "3"]
        name, flags = words[2], {w.partition("=")[0].lstrip("-") for w in words[3:] if w.startswith("--")}
        if meant(name, "surface" if "surface" in words else None, flags & set(DESCENT))[0] == "surface":
            words += ["--steps", "3"]
    elif words[1] == "basins":
        words += ["--resolution", "8", "--steps", "3", "--dpi", "40"]
    done = invoke(*words)
    assert (done.code, [line for line in done.err.splitlines() if "wrote" not in line]) == (0, [])


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("run himmelbau", "did you mean 'himmelblau'?"),
        ("run quadratic --optimizer adm", "did you mean 'adam'?"),
        ("run quadratic --optimiser adam", "did you mean --optimizer?"),
        ("run quadratic --schedule cosin", "did you mean 'cosine'?"),
        ("run quadratic --lr abc", "--lr takes a number"),
        ("run quadratic --lr -1", "a number above 0"),
        ("run quadratic --steps 0", "1 or more"),
        ("run quadratic --steps 1.5", "--steps takes a whole number"),
        ("run quadratic --starts 0", "1 or more"),
        ("run quadratic --start 99", "outside the domain"),
        ("run quadratic --start 1,2", "starts have shape (1, 2)"),
        ("run quadratic --start 1 --start 1,2", "as many coordinates"),
        ("run quadratic --start 1 --starts 2", "not both"),
        ("run quadratic --clip -1", "above 0"),
        ("run quadratic -o x.jpg", "allowed are .png"),
        ("run quadratic -o none/x.png", "there is no folder none"),
        ("run quadratic --width 5 -o x.png", "60 to 600"),
        ("run quadratic --style neon", "allowed are light, dark"),
        ("run quadratic stray", "unexpected argument 'stray'"),
        ("run quadratic -s novalue", "KEY=VALUE"),
        ("run ravine --kind surface --conditoin 5", "did you mean --condition?"),
        ("run quadratic --kind loss", "no loss in the lab is called 'quadratic'"),
        ("run mse --lr 1", "does not apply"),
        ("run step_table --ratez 1", "did you mean 'rates'?"),
        ("run learning_rates --rates -1", "above 0"),
        ("run rosenbrock --lr 1,2,3,4,5,6,7 --optimizer sgd,adam", "at most 12"),
        ("list surface", "did you mean 'surfaces'?"),
        ("guide optimisers", "did you mean 'optimizers'?"),
        ("basins quadratic", "needs two coordinates"),
        ("basins himmelblau --optimizer lbfgs", "too slow for a map"),
        ("basins himmelblau -o x.gif", "allowed are .png, .svg, .pdf, .html"),
    ],
)
def test_wrong_words_are_told_with_the_next_step(invoke: Invoke, words: str, told: str) -> None:
    done = invoke("lab", *words.split())
    assert done.code == 2
    assert told in done.err
    assert done.err.startswith("lossdoctor: error: ")
    assert done.err.count("\n") == 1


def test_without_ffmpeg_nothing_is_computed(invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda _: None)
    done = invoke("lab", "run", "four_patterns", "-o", "x.mp4")
    assert done.code == 2
    assert "needs ffmpeg" in done.err


def test_without_torch_the_extra_is_named(invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    for words in ("list", "run quadratic", "basins himmelblau"):
        done = invoke("lab", *words.split())
        assert done.code == 2
        assert "pip install 'lossdoctor[lab]'" in done.err


@pytest.mark.parametrize(
    ("words", "unwanted"),
    [
        ("lab run --help", {"numpy", "torch", "scipy", "matplotlib", "plotly"}),
        ("lab guide optimizers", {"torch", "scipy", "matplotlib", "plotly"}),
        ("lab list", {"matplotlib", "plotly"}),
    ],
)
def test_nothing_is_imported_that_is_not_used(words: str, unwanted: set[str]) -> None:
    done = shell(words.split(), PYTHONPROFILEIMPORTTIME="1")
    assert done.code == 0
    loaded = {line.rpartition("|")[2].strip() for line in done.err.splitlines()}
    assert "typer" in loaded
    assert not unwanted & loaded
