"""The quality report: what counts as right, and what it writes. Needs torch."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("sklearn")

from benchmarks.clinic import corpus, faults, tasks
from benchmarks.clinic.config import Config
from benchmarks.clinic.judged import Judged, judge, share, wilson

from benchmarks import quality

HEALTHY = Config("digits_mlp", lr=tasks.SPECS["digits_mlp"].lr["adam"], steps=600, schedule="cosine", val_every=25)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, so that tests neither read nor fill the real one."""
    monkeypatch.setattr(corpus, "CACHE", tmp_path)
    return tmp_path


def pair(name: str) -> tuple[Judged, Judged]:
    sick = faults.get(name).configure(HEALTHY, np.random.default_rng(1))
    return judge(corpus.load(sick), corpus.load(HEALTHY)), judge(corpus.load(HEALTHY))


def test_wilson_brackets_the_share() -> None:
    assert wilson(0, 0) == (0.0, 1.0)
    low, high = wilson(8, 10)
    assert low == pytest.approx(0.490, abs=0.001)
    assert high == pytest.approx(0.943, abs=0.001)
    assert share(8, 10) == "8 of 10 (49–94 %)"
    assert share(0, 0) == "none"


def test_a_run_is_trained_once_and_comes_back_from_the_cache_as_it_was(cache: Path) -> None:
    config = Config("cancer", steps=40, val_every=10)
    first = corpus.load(config)
    assert [p.stem for p in cache.iterdir()] == [config.key()]
    written = next(cache.iterdir())
    stamp = written.stat().st_mtime_ns
    again = corpus.load(config)
    assert again == json.loads(json.dumps(first))
    assert written.stat().st_mtime_ns == stamp
    assert corpus.restored(again).config == config


@pytest.mark.usefixtures("cache")
def test_a_nan_is_found_where_it_is_and_the_twin_is_left_alone() -> None:
    sick, twin = pair("nan_in_data")
    assert twin.truth["verified"]
    assert twin.status_right
    assert sick.truth["visible"]
    assert sick.right == ["LD101"]
    assert sick.status_right
    assert sick.onset_error == pytest.approx(0.0, abs=0.01)
    text = "\n".join(quality.first_table([(sick, twin)]))
    assert "| nan_in_data | digits_mlp | nonfinite | **LD101**" in text
    assert "the status is right in 1 of 1" in text


@pytest.mark.usefixtures("cache")
def test_the_report_on_a_corpus_counts_only_verified_and_visible_runs() -> None:
    sick, twin = pair("missing_step")
    hidden = Judged({**sick.truth, "visible": False}, sick.diagnosis, sick.points, sick.first_step, sick.last_step)
    flawed = Judged({**twin.truth, "verified": False, "flaw": "rose"}, twin.diagnosis, twin.points, 1, 600)
    text = "\n".join(quality.corpus_tables("Runs", [twin, flawed], [sick, hidden]))
    assert "1 healthy runs, 1 sick runs with a visible effect." in text
    assert "1 unfaulted runs whose held-out loss says “rose”" in text
    assert "1 faulted runs that ended as well as their twins" in text
    assert "| missing_step | alarm | 1 of 1" in text


@pytest.mark.usefixtures("cache")
def test_an_index_row_says_what_is_true_of_a_sick_run() -> None:
    sick = faults.get("decayed_early").configure(HEALTHY, np.random.default_rng(2))
    row = corpus.index_row(corpus.load(sick), corpus.load(HEALTHY))
    assert row["fault"] == "decayed_early"
    assert row["twin"] == f"{HEALTHY.key()}.jsonl"
    assert row["outcome"] == "worse"
    assert row["expected_alarm"]
    assert row["onset_step"] == pytest.approx(sick.param("share") * sick.steps, abs=2)
    assert row["best_val"] <= row["final_val"]
