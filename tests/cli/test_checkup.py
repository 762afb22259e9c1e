"""``lossdoctor checkup``: from a user's file to a report and an exit code; what is wrong in it is told in one line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lossdoctor.cli.checkup import FORMATS, _complete_tests
from lossdoctor.cli.checkup_target import value_of
from tests.cli.support import Invoke, shell

pytest.importorskip("torch")
GOOD = """
import torch
from torch import nn

print("importing")

def data(n):
    x = torch.randn(n, 4, generator=torch.Generator().manual_seed(n))
    return list(zip(x.split(16), x[:, :3].argmax(dim=1).split(16)))

def make(lr=0.01, width=32, dead=False):
    print("making")
    model = nn.Sequential(nn.Linear(4, width), nn.ReLU(), nn.Linear(width, 3))
    if dead:
        nn.init.constant_(model[0].weight, 0.0)
        nn.init.constant_(model[0].bias, -1.0)
        for p in model[2].parameters():
            p.requires_grad_(False)
    parameters = [p for p in model.parameters() if p.requires_grad]
    return {"model": model, "loss_fn": nn.CrossEntropyLoss(), "train": data(256), "val": data(96),
            "optimizer": torch.optim.Adam(parameters, lr=lr)}

def needs(model, width):
    return model

def raises():
    raise ValueError("no data here")

def leaves():
    raise SystemExit(3)

def wrong():
    return nn.Linear(2, 2)

class Broken(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 3)
    def forward(self, x):
        raise RuntimeError("forgot the weights")

def broken():
    return Broken(), nn.CrossEntropyLoss(), data(64)
"""


@pytest.fixture
def invoke(invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> Invoke:
    """As everywhere, in a terminal of 80 columns."""
    monkeypatch.setenv("COLUMNS", "80")
    return invoke


@pytest.fixture
def good(tmp_path: Path) -> Path:
    path = tmp_path / "train_it.py"
    path.write_text(GOOD, "utf-8")
    return path


RAISES = 'raise ValueError("no data here")'
LINES = {text.strip(): number for number, text in enumerate(GOOD.splitlines(), 1)}
FAST = ("--select", "initial_loss,overfit_one_batch", "--quick")


def test_a_sound_training_is_healthy_and_exits_with_0(invoke: Invoke, good: Path) -> None:
    done = invoke("checkup", f"{good}:make", *FAST)
    assert done.code == 0
    assert done.out.startswith(f"✓ healthy  {good}:make\n")
    assert "✓ passed  Overfit one batch" in done.out
    assert max(map(len, done.out.splitlines()[1:])) <= 80
    # What the user's code prints does not get into the report.
    assert "making" not in done.out
    assert done.err.splitlines() == ["importing", "making"]


def test_the_function_is_make_where_none_is_named(invoke: Invoke, good: Path) -> None:
    assert invoke("checkup", good, "--select", "initial_loss").code == 0


def test_a_sick_training_exits_with_1_by_its_severity(invoke: Invoke, good: Path) -> None:
    words = ("checkup", f"{good}:make", "--set", "dead=true", *FAST)
    done = invoke(*words)
    assert done.code == 1
    assert done.out.startswith("✗ critical")
    assert "✗ failed, critical  Overfit one batch" in done.out
    assert "Likeliest causes" in done.out
    assert invoke(*words, "--fail-on", "never").code == 0
    warned = ("checkup", f"{good}:make", "--select", "lr_range_test", "--quick", "--set", "lr=1000")
    assert [invoke(*warned, "--fail-on", level).code for level in ("critical", "warning")] == [0, 1]


def test_json_holds_the_report(invoke: Invoke, good: Path) -> None:
    done = invoke("checkup", f"{good}:make", "-f", "json", *FAST, "--ignore", "curvature", "--seed", "7")
    told = json.loads(done.out)
    assert (told["schema_version"], told["status"], told["seed"]) == (1, "healthy", 7)
    assert [r["test"] for r in told["results"]] == ["initial_loss", "overfit_one_batch"]
    assert told["errors"] == told["causes"] == []
    assert told["target"] == f"{good}:make"


def test_a_page_is_written_to_a_file(invoke: Invoke, good: Path, tmp_path: Path) -> None:
    done = invoke("checkup", f"{good}:make", "--format", "html", "-o", "report.html", *FAST)
    assert done.code == 0
    assert done.out == ""
    assert done.err.endswith("lossdoctor: wrote report.html\n")
    page = (tmp_path / "report.html").read_text("utf-8")
    assert page.startswith("<!doctype html>")
    assert page.count("<svg") >= 2


def test_text_goes_to_a_file_too_and_is_without_colour(invoke: Invoke, good: Path, tmp_path: Path) -> None:
    invoke("checkup", f"{good}:make", "-o", "report.txt", "--select", "initial_loss")
    assert (tmp_path / "report.txt").read_text("utf-8").startswith("✓ healthy")


def test_options_reach_the_function_as_python_reads_them(invoke: Invoke, good: Path) -> None:
    done = invoke(
        "checkup", f"{good}:make", "-s", "width=7", "--set", "lr=5e-3", "-f", "json", "--select", "initial_loss"
    )
    facts = json.loads(done.out)["facts"]
    assert (facts["parameters"], facts["optimizer"]) == ("59", "Adam, lr 0.005")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3", 3), ("1e-3", 1e-3), ("true", True), ("False", False), ("none", None), ("[1, 2]", [1, 2]), ("'3'", "3"),
        ("adam", "adam"), ("a b", "a b"), ("__import__('os')", "__import__('os')"), ("(" * 500, "(" * 500),
    ],
)  # fmt: skip
def test_values_of_options(text: str, value: object) -> None:
    assert value_of(text) == value


def test_a_module_is_found_from_the_working_directory(invoke: Invoke, tmp_path: Path) -> None:
    package = tmp_path / "mine"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "training.py").write_text(GOOD)
    done = invoke("checkup", "mine.training:make", "--select", "initial_loss")
    assert done.code == 0
    assert done.out.startswith("✓ healthy  mine.training:make")


def test_a_file_imports_what_lies_beside_it(invoke: Invoke, tmp_path: Path) -> None:
    folder = tmp_path / "apart"
    folder.mkdir()
    (folder / "parts_of_mine.py").write_text(GOOD)
    (folder / "target_of_mine.py").write_text("from parts_of_mine import make\n")
    assert invoke("checkup", "apart/target_of_mine.py:make", "--select", "initial_loss").code == 0


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("nothing.py:make", "nothing.py: there is no such file; expected FILE.py:FUNCTION or PACKAGE.MODULE:FUNCTION"),
        ("nosuch.module:make", "there is no module 'nosuch.module' here or installed; expected"),
        ("train_it.py:mak", "train_it.py has no function 'mak'; it has data, make"),
        ("train_it:nn", "train_it has no function 'nn'"),
        (":make", "the target is ':make'; expected"),
        ("train_it.py:raises", f"train_it.py:{LINES[RAISES]}: raises() raised ValueError: no data here"),
        ("train_it.py:leaves", f"train_it.py:{LINES['raise SystemExit(3)']}: leaves() raised SystemExit: 3"),
        ("train_it.py:wrong", "train_it.py:wrong: got a Linear; expected a mapping or an object with 'model'"),
        ("train_it.py:needs", "train_it.py:needs needs 'model', 'width'; give --set model=VALUE"),
        ("syntax.py:make", "syntax.py:2: syntax.py raised SyntaxError: "),
        ("broken.py:make", "broken.py:2: broken.py raised ModuleNotFoundError: No module named 'not_there_at_all'"),
        ("broken:make", "broken.py:2: importing broken raised ModuleNotFoundError"),
        (".:make", "there is no module '.' here or installed"),
        ("sub/:make", "sub/: is a folder"),
    ],
)
def test_a_target_that_cannot_be_made_is_one_line_and_exit_code_2(
    invoke: Invoke, good: Path, tmp_path: Path, target: str, message: str
) -> None:
    assert good.exists()
    (tmp_path / "syntax.py").write_text("a = 1\nb = (\n")
    (tmp_path / "broken.py").write_text("\nimport not_there_at_all\n")
    (tmp_path / "sub").mkdir()
    done = invoke("checkup", target)
    assert done.code == 2
    assert done.out == ""
    *_, last = done.err.splitlines()
    assert last.startswith(f"lossdoctor: error: {message}"), last
    assert len([line for line in done.err.splitlines() if "error" in line]) == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--set", "widht=3"), "has no argument 'widht'; it takes lr, width, dead; did you mean 'width'?"),
        (("--set", "width"), "--set takes KEY=VALUE, got 'width'"),
        (("--select", "initial"), "unknown test 'initial'; tests are initial_loss,"),
        (("--select", "curvature", "--ignore", "curvature"), "no test is left to run"),
        (("--format", "pdf"), "unknown format 'pdf'; allowed are text, html, json"),
        (("--fail-on", "info"), "unknown severity for --fail-on 'info'"),
        (("--seed", "-1"), "the seed is -1; give a whole number from 0"),
    ],
)
def test_wrong_options_are_told_and_exit_with_2(
    invoke: Invoke, good: Path, words: tuple[str, ...], message: str
) -> None:
    done = invoke("checkup", f"{good}:make", *words)
    assert done.code == 2
    assert message in done.err


def test_an_unknown_test_is_told_before_anything_is_run(invoke: Invoke, good: Path) -> None:
    assert "importing" not in invoke("checkup", good, "--select", "nothing").err


def test_a_model_that_cannot_be_run_is_reported_with_its_line_and_exits_with_2(invoke: Invoke, good: Path) -> None:
    done = invoke("checkup", "train_it.py:broken", *FAST)
    assert done.code == 2
    flat = " ".join(done.out.split())
    line = LINES['raise RuntimeError("forgot the weights")']
    assert f"could not run Loss at the start, Overfit one batch train_it.py:{line}: the model, on batch 0" in flat
    assert done.err.endswith("lossdoctor: error: 2 of 2 tests could not be run\n")
    assert good.exists()


def test_an_output_that_cannot_be_written_is_told_before_the_tests_run(
    invoke: Invoke, good: Path, tmp_path: Path
) -> None:
    for place, why in (
        (tmp_path, "it is a folder; name a file in it"),
        ("no/report.txt", "there is no folder no; make"),
    ):
        done = invoke("checkup", good, "-o", place)
        assert done.code == 2
        assert why.partition(";")[0] in done.err
        assert "making" not in done.err


def test_without_torch_the_extra_is_named(invoke: Invoke, good: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", {}.get)
    done = invoke("checkup", good)
    assert done.code == 2
    assert done.err == (
        "lossdoctor: error: a checkup needs torch, which is not installed; run: pip install 'lossdoctor[torch]'\n"
    )


def test_tests_are_completed_after_a_comma() -> None:
    assert _complete_tests("initial_loss,cur") == ["initial_loss,curvature"]
    assert len(_complete_tests("")) >= 10
    assert FORMATS == ("text", "html", "json")


def test_as_a_process_of_its_own_there_is_no_progress_in_a_pipe(good: Path) -> None:
    done = shell(["checkup", f"{good}:make", "--select", "initial_loss"], cwd=good.parent, OMP_NUM_THREADS="1")
    assert done.code == 0
    assert "\x1b" not in done.out + done.err
    assert "\r" not in done.err
