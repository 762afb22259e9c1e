"""The other commands: explain, rules, compare, plot, export, formats, version, completion."""

from __future__ import annotations

import csv
import json
import math
import sys
from pathlib import Path

import pytest

import lossdoctor
from lossdoctor.rules import all_rules
from lossdoctor.rules.base import SECTIONS
from tests.cli.support import Invoke, descent, shell, write_csv


def test_version(invoke: Invoke) -> None:
    assert shell(["--version"]).out == f"lossdoctor {lossdoctor.__version__}\n"
    assert invoke("--version").out == f"lossdoctor {lossdoctor.__version__}\n"


def test_help_names_every_command(invoke: Invoke) -> None:
    out = invoke("--help").out
    for command in ("diagnose", "explain", "rules", "compare", "plot", "export", "formats"):
        assert command in out
        assert invoke(command, "--help").code == 0


def test_bare_call_shows_help_and_is_2(invoke: Invoke) -> None:
    result = invoke()
    assert result.code == 2
    assert "diagnose" in result.out + result.err


@pytest.mark.parametrize("shell_name", ["bash", "zsh", "fish"])
def test_completion(shell_name: str) -> None:
    result = shell([], _LOSSDOCTOR_COMPLETE=f"source_{shell_name}")
    assert "lossdoctor" in result.out or "LOSSDOCTOR" in result.out


@pytest.mark.parametrize(
    ("line", "word"),
    [
        ("lossdoctor diagnose --format j", "json"),
        ("lossdoctor diagnose --select LD3", "LD301"),
        ("lossdoctor diagnose --select LD101,overf", "LD101,overfitting"),
        ("lossdoctor diagnose --metric val_l", "val_loss="),
        ("lossdoctor diagnose --context cl", "classes="),
        ("lossdoctor diagnose --fail-on n", "never"),
        ("lossdoctor explain overf", "overfitting"),
        ("lossdoctor expl", "explain"),
    ],
)
def test_what_is_completed(line: str, word: str) -> None:
    result = shell([], _LOSSDOCTOR_COMPLETE="complete_bash", COMP_WORDS=line, COMP_CWORD=str(len(line.split()) - 1))
    assert word in result.out.split()


# explain and rules


@pytest.mark.parametrize("rule", all_rules(), ids=lambda r: r.code)
def test_every_rule_is_explained(invoke: Invoke, rule: object) -> None:
    by_code, by_name = invoke("explain", rule.code.lower()), invoke("explain", rule.name)  # type: ignore[attr-defined]
    assert by_code.code == by_name.code == 0
    assert by_code.out == by_name.out
    for title in SECTIONS:
        assert title in by_code.out
    for option in rule.options:  # type: ignore[attr-defined]
        assert option.name in by_code.out


def test_rules_lists_all(invoke: Invoke) -> None:
    text = invoke("rules").out
    listed = json.loads(invoke("rules", "--format", "json").out)
    assert [r["code"] for r in listed] == [r.code for r in all_rules()]
    for rule in listed:
        assert rule["code"] in text
        assert rule["name"] in text
        assert rule["summary"]
    assert invoke("rules", "--format", "yaml").code == 2


def test_formats_lists_all(invoke: Invoke) -> None:
    text = invoke("formats").out
    listed = {f["format"] for f in json.loads(invoke("formats", "-f", "json").out)}
    assert {"csv", "jsonl", "json", "tensorboard", "wandb", "mlflow", "parquet", "text"} <= listed
    assert all(name in text for name in listed)


# compare


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    low = write_csv(tmp_path / "low" / "log.csv", list(enumerate(descent(seed=1))))
    high = write_csv(tmp_path / "high" / "log.csv", [(i, v + 0.3) for i, v in enumerate(descent(seed=2))])
    return low, high


def test_compare(invoke: Invoke, pair: tuple[Path, Path]) -> None:
    result = invoke("compare", *pair)
    assert result.code == 0
    assert "is better" in result.out
    data = json.loads(invoke("compare", *pair, "--format", "json").out)
    assert "low" in data["winner"]
    assert data["beyond_noise"] is True
    assert data["margin"] == pytest.approx(0.3, abs=0.05)
    assert "low" in json.loads(invoke("compare", *reversed(pair), "--metric", "loss", "-f", "json").out)["winner"]


def test_compare_draws(invoke: Invoke, pair: tuple[Path, Path], tmp_path: Path) -> None:
    picture = tmp_path / "both.svg"
    assert invoke("compare", *pair, "-o", picture).code == 0
    assert "<svg" in picture.read_text()[:2000]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["low/log.csv"], "at least two runs, found 1"),
        (["low/log.csv", "nowhere.csv"], "at least two runs"),
        (["low", "high", "--metric", "ppl"], "no metric 'ppl'"),
        (["low", "high", "-o", "x.gif"], "'.gif'"),
        (["low", "high", "-f", "xml"], "'xml'"),
    ],
)
@pytest.mark.usefixtures("pair")
def test_compare_refuses(invoke: Invoke, arguments: list[str], words: str) -> None:
    result = invoke("compare", *arguments)
    assert result.code == 2
    assert words in result.err


def test_not_comparable_is_2(invoke: Invoke, tmp_path: Path) -> None:
    a = write_csv(tmp_path / "a.csv", [(i, 1.0) for i in range(50)], "step,train_loss")
    b = write_csv(tmp_path / "b.csv", [(i, 1.0) for i in range(50)], "step,val_loss")
    result = invoke("compare", a, b)
    assert result.code == 2
    assert "not comparable" in result.out


# plot


@pytest.mark.parametrize(("suffix", "magic"), [("png", b"\x89PNG"), ("svg", b"<?xml"), ("pdf", b"%PDF")])
def test_plot(invoke: Invoke, overfit: Path, tmp_path: Path, suffix: str, magic: bytes) -> None:
    picture = tmp_path / f"curves.{suffix}"
    result = invoke("plot", overfit, "-o", picture, "--dpi", 50)
    assert result.code == 0, result.err
    assert picture.read_bytes().startswith(magic)


def test_plot_refuses(invoke: Invoke, overfit: Path) -> None:
    assert "'.gif'" in invoke("plot", overfit, "-o", "x.gif").err
    assert invoke("plot", overfit, "-o", "no/folder/x.png").code == 2
    assert invoke("plot", "nowhere.csv").code == 2


# export


def test_export_csv_and_back(invoke: Invoke, tmp_path: Path) -> None:
    rows = [(i, "nan" if i == 7 else 1.0 / (i + 1), 2.0 if i % 5 == 0 else "") for i in range(20)]
    log = write_csv(tmp_path / "log.csv", rows, "step,loss,val_loss")
    out = tmp_path / "out.csv"
    assert invoke("export", log, "-o", out).code == 0
    table = list(csv.DictReader(out.open()))
    assert len(table) == 20
    assert math.isnan(float(table[7]["loss"]))
    assert [bool(row["val_loss"]) for row in table[:6]] == [True, False, False, False, False, True]
    (first,), (again,) = lossdoctor.read(log), lossdoctor.read(out)
    assert list(again["loss"].values[8:]) == list(first["loss"].values[8:])
    assert list(again["val_loss"].steps) == list(first["val_loss"].steps)


def test_export_jsonl(invoke: Invoke, exploded: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    assert invoke("export", exploded, "-o", out).code == 0
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert len(rows) == 300
    assert rows[0].keys() == {"step", "loss"}
    assert rows[250]["loss"] == "NaN"


def test_export_parquet(invoke: Invoke, overfit: Path, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    out = tmp_path / "out.parquet"
    assert invoke("export", overfit, "-o", out).code == 0
    table = parquet.read_table(out)
    assert table.num_rows == 120
    assert {"step", "loss", "val_loss"} <= set(table.column_names)


def test_export_parquet_without_a_package(
    invoke: Invoke, overfit: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for package in ("polars", "pyarrow", "pyarrow.parquet"):
        monkeypatch.setitem(sys.modules, package, None)
    result = invoke("export", overfit, "--output", tmp_path / "run.parquet")
    assert result.code == 2
    assert "writing Parquet needs the package 'polars'" in result.err
    assert list(tmp_path.glob("*.parquet")) == []


def test_export_keeps_what_was_logged_twice(invoke: Invoke, tmp_path: Path) -> None:
    """A resume that logs steps 30 to 39 again: both values are there."""
    rows = [(i, 2.0 - i / 50) for i in range(40)] + [(i, 1.5 - i / 50) for i in range(30, 60)]
    log = write_csv(tmp_path / "log.csv", rows)
    out = tmp_path / "out.csv"
    invoke("export", log, "-o", out)
    steps = [int(row["step"]) for row in csv.DictReader(out.open())]
    assert len(steps) == 70
    assert steps == sorted(steps)


def test_export_refuses(invoke: Invoke, exploded: Path) -> None:
    assert "'.xlsx'" in invoke("export", exploded, "-o", "x.xlsx").err
    assert invoke("export", exploded).code == 2
    assert invoke("export", exploded, "-o", "no/folder/x.csv").code == 2


def test_choosing_among_several_runs(invoke: Invoke, pair: tuple[Path, Path], tmp_path: Path) -> None:
    folder, out = tmp_path, tmp_path / "out.csv"
    refused = invoke("export", folder, "-o", out)
    assert refused.code == 2
    assert "2 runs" in refused.err
    assert "--run" in refused.err
    assert invoke("export", folder, "-o", out, "--run", "2").code == 0
    wrong = invoke("export", folder, "-o", out, "--run", "nobody")
    assert wrong.code == 2
    assert "nobody" in wrong.err
    assert pair
