"""check_data as a whole: every form of input, the loss it suggests, no trace, clear errors, bounded output."""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from benchmarks.clinic import tasks
from sklearn import datasets
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset, WeightedRandomSampler

from lossdoctor.core.errors import UsageError, UserCodeError
from lossdoctor.core.vocabulary import CAUSES, TESTS
from lossdoctor.probes import check_data
from lossdoctor.probes.data.remedy import Remedy

torch.set_num_threads(1)


def numbers(n: int = 300, d: int = 3, seed: int = 0) -> tuple[Tensor, Tensor]:
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(n, d, generator=g)
    return x, x[:, 0] + 0.1 * torch.randn(n, generator=g)


def test_every_form_gives_the_same_findings() -> None:
    x, y = numbers()
    x[17, 1] = float("nan")
    frame = pd.DataFrame(x.numpy(), columns=["feature 0", "feature 1", "feature 2"]).assign(t=y.numpy())
    forms: list[tuple[Any, Any]] = [
        ((x, y), None),
        (x, y),
        (x.numpy(), y.numpy()),
        (frame, "t"),
        (pl.DataFrame({c: frame[c].to_numpy() for c in frame}), "t"),
        (frame.drop(columns="t"), frame["t"]),
        (TensorDataset(x, y), None),
        (DataLoader(TensorDataset(x, y), 32, shuffle=True), None),
        ([(x[k : k + 50], y[k : k + 50]) for k in range(0, 300, 50)], None),
        ([{"x": x[k : k + 50], "labels": y[k : k + 50]} for k in range(0, 300, 50)], None),
    ]
    for data, target in forms:
        finding = check_data(data, target, progress=False).findings[0]
        assert (finding.check, finding.rows, finding.feature) == ("missing", (17,), "feature 1")


def test_frames_keep_names_categories_and_missing_whole_numbers() -> None:
    frame = pl.DataFrame(
        {"age": [31, None, 45] * 50, "city": ["a", "b", None] * 50, "born": [None] * 150, "y": [0, 1] * 75}
    )
    frame = frame.with_columns(pl.col("born").cast(pl.Date))
    result = check_data(frame, "y", progress=False)
    assert {f.feature for f in result.found("missing")} == {"the frame: age", "the categories: city"}
    assert any("'born'" in n for n in result.notes)


@pytest.mark.parametrize(
    ("noise", "loss"),
    [("normal", "MSE"), ("uniform", "MSE"), ("t2", "Huber"), ("contaminated", "Huber"), ("cauchy", "MAE")],
)
def test_the_loss_follows_the_tails_of_the_residuals(noise: str, loss: str) -> None:
    r = np.random.default_rng(0)
    n = 2000
    e = {
        "normal": lambda: r.normal(size=n),
        "uniform": lambda: r.uniform(-1, 1, n),
        "t2": lambda: r.standard_t(2, n),
        "contaminated": lambda: np.where(r.random(n) < 0.05, r.normal(0, 15, n), r.normal(size=n)),
        "cauchy": lambda: r.standard_cauchy(n),
    }[noise]()
    x = r.normal(size=(n, 3)) * 10  # the target's own spread is that of the inputs: only residuals can tell
    suggestion = check_data(x, x @ [1.0, 2.0, -1.0] + e, progress=False).suggestion
    assert suggestion is not None
    assert suggestion.loss == loss
    if loss == "Huber":
        expected = 1.345 * 1.4826 * np.median(np.abs(e - np.median(e)))
        assert suggestion.delta == pytest.approx(expected, rel=0.1)
        assert f"HuberLoss(delta={suggestion.delta:.4g})" in suggestion.code
        # An estimate by that loss does have about that share of the variance.
        samples = r.choice(e, (400, 200))
        mean, huber = np.var(samples.mean(axis=1)), np.var([_huber(s, expected) for s in samples])
        assert huber / mean == pytest.approx(suggestion.huber_variance, rel=0.5)


def _huber(sample: Any, delta: float) -> float:
    centre = float(np.median(sample))
    for _ in range(20):
        centre += float(np.clip(sample - centre, -delta, delta).mean())
    return centre


def test_counts_skewed_targets_and_classes_have_losses_of_their_own() -> None:
    r = np.random.default_rng(0)
    x = r.normal(size=(1000, 2))
    for y, loss in (
        (r.poisson(np.exp(0.3 * x[:, 0])) * 1.0, "Poisson"),
        (np.exp(x[:, 0] + r.normal(size=1000)), "MSE of the logarithm"),
        (r.integers(0, 10, 1000) * 1.0, "MSE"),
        (r.integers(0, 5, 1000), "cross-entropy"),
        (r.integers(0, 2, (1000, 3)) * 1.0, "binary cross-entropy"),
    ):
        suggestion = check_data(x, y, progress=False).suggestion
        assert suggestion is not None
        assert suggestion.loss == loss
    rare = check_data(x, (r.random(1000) < 0.04).astype(int), progress=False).suggestion
    assert rare is not None
    assert "pos_weight" in rare.code


def test_whether_inputs_tell_of_the_labels() -> None:
    r = np.random.default_rng(0)
    x, w = r.normal(size=(1000, 5)), r.normal(size=5)
    assert check_data(x, x @ w, progress=False).causes["labels-uninformative"] < 0.2
    told = check_data(x, (x @ w > 0).astype(int), progress=False)
    assert told.baseline_score > 0.9
    assert told.causes["labels-uninformative"] < 0.2
    assert check_data(x, r.integers(0, 2, 1000), progress=False).causes["labels-uninformative"] > 1


def test_healthy_tasks_pass_and_their_loss_is_suggested() -> None:
    for name, loss in (("cancer", "cross-entropy"), ("friedman", "MSE"), ("counts_poisson", "Poisson")):
        task = tasks.make(name, seed=0)
        result = check_data(task.train_loader, val=task.val_loader, progress=False)
        assert result.outcome == "passed", result.verdict
        assert result.suggestion is not None
        assert result.suggestion.loss == loss
        assert result.causes["data-unshuffled"] < 0.2


def test_nothing_is_changed() -> None:
    x, y = numbers()
    generator = torch.Generator().manual_seed(3)
    loader = DataLoader(TensorDataset(x, y), 32, shuffle=True, generator=generator)
    before = (
        x.clone(),
        generator.get_state(),
        torch.get_rng_state(),
        random.getstate(),
        np.random.get_state()[1].copy(),
    )
    check_data(loader, val=loader, progress=False)
    after = (x, generator.get_state(), torch.get_rng_state(), random.getstate(), np.random.get_state()[1])
    assert torch.equal(before[0], after[0])
    assert torch.equal(before[1], after[1])
    assert torch.equal(before[2], after[2])
    assert before[3] == after[3]
    assert np.array_equal(before[4], after[4])
    again = torch.Generator()
    again.set_state(before[1])
    expected = next(iter(DataLoader(TensorDataset(x, y), 32, shuffle=True, generator=again)))
    assert torch.equal(next(iter(loader))[0], expected[0])


class Breaking(Dataset[Any]):
    """Its 40th item raises what it is told to."""

    def __init__(self, error: type[BaseException]) -> None:
        self.error = error

    def __len__(self) -> int:
        return 100

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        torch.rand(1)
        if index == 40:
            raise self.error("disk gone")
        return torch.zeros(2), 0


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_loader_that_breaks_is_named_and_leaves_no_trace(error: type[BaseException]) -> None:
    before = torch.get_rng_state()
    with pytest.raises(UserCodeError if error is ValueError else KeyboardInterrupt) as caught:
        check_data(DataLoader(Breaking(error), 10), progress=False)
    assert torch.equal(torch.get_rng_state(), before)
    if error is ValueError:
        assert "the loader, at batch 4 raised ValueError: disk gone" in str(caught.value)


def test_rows_are_indices_of_the_data_set_and_drawing_again_is_no_copy() -> None:
    x, y = numbers()
    x[123, 0] = float("nan")
    sampler = WeightedRandomSampler(torch.ones(300), 900, replacement=True, generator=torch.Generator().manual_seed(0))
    result = check_data(DataLoader(TensorDataset(x, y), 50, sampler=sampler), progress=False)
    assert set(result.findings[0].rows) == {123}
    assert not result.found("duplicates")


class Stream(IterableDataset[Any]):
    """Rows without an index or a length."""

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        yield from zip(*numbers(500), strict=True)


def test_reading_is_bounded_and_says_so() -> None:
    result = check_data(DataLoader(Stream(), 64), max_examples=200, progress=False)
    assert result.examples == 200
    assert any("first 200 examples" in n for n in result.notes)
    x, y = numbers(5000)
    assert "of 5,000 examples 1,000, drawn evenly" in check_data(x, y, max_examples=1000, progress=False).notes[0]
    y = torch.arange(5000) // 2500  # sorted: the first thousand hold one class
    loader = DataLoader(TensorDataset(x, y), 50)
    single = check_data(loader, max_examples=1000, progress=False)
    assert single.causes["data-unshuffled"] > 3
    assert "Shuffle" in single.verdict


def test_batches_of_other_lengths() -> None:
    g = torch.Generator().manual_seed(0)
    text = [(torch.randint(1, 90, (8, 5 + k), generator=g), torch.randint(0, 2, (8,), generator=g)) for k in range(20)]
    assert check_data(text, progress=False).examples == 160
    waves = [(torch.randn(8, 20 + k, 3, generator=g), torch.randint(0, 2, (8,), generator=g)) for k in range(20)]
    result = check_data(waves, progress=False)
    assert any("varies in size" in n for n in result.notes)
    assert result.features == 60


def test_language_models_and_ignored_labels() -> None:
    g = torch.Generator().manual_seed(0)
    ids = torch.randint(0, 50, (100, 12), generator=g)
    labels = torch.where(torch.rand(100, 12, generator=g) < 0.2, -100, ids)
    result = check_data([{"input_ids": ids, "labels": labels}], progress=False)
    assert result.outcome == "passed"
    assert result.suggestion is not None
    assert "ignore_index=-100" in result.suggestion.code


def test_what_it_says_is_bounded_and_of_the_vocabulary() -> None:
    r = np.random.default_rng(0)
    x = r.normal(size=(200, 300)) * np.logspace(-4, 4, 300)
    x[5] = np.nan
    x[7:20] = 1e9
    result = check_data((x, r.integers(0, 40, 200)), val=x[:50], progress=False)
    assert result.test in TESTS
    assert set(result.causes) <= set(CAUSES)
    assert len(result.rows()) < 30
    assert all(len(c.bars) <= 10 for c in result.charts())
    assert len(result.findings) < 40
    assert all(len(f.rows) <= 20 for f in result.findings)
    assert json.dumps(result.as_dict(), default=str)
    assert result.verdict.count(".") < 20
    assert len(str(result)) < 8000


def test_a_heavy_tail_is_drawn_against_the_normal_one() -> None:
    r = np.random.default_rng(0)
    result = check_data(r.normal(size=(3000, 2)), r.standard_cauchy(3000), progress=False)
    (chart,) = (c for c in result.charts() if c.title.startswith("Tails"))
    assert len(chart.lines[0].x) <= 200
    assert max(chart.lines[0].y) > 20


@pytest.mark.parametrize(
    ("data", "options", "words"),
    [
        (None, {}, "data is None; expected a DataLoader"),
        (iter([1]), {}, "can be read only once"),
        ("path.csv", {}, "data is a str"),
        (np.zeros((0, 3)), {}, "no examples"),
        ([], {}, "the loader gave no batch"),
        (np.zeros((3, 2)), {"target": np.zeros(4)}, "the inputs hold 3 examples, the target 4"),
        (np.zeros((3, 2)), {"target": "y"}, "names a column, but the data are no data frame"),
        (pd.DataFrame({"price": [1.0]}), {"target": "prise"}, "did you mean 'price'?"),
        (np.zeros((3, 2)), {"lr": 0}, "lr=0; expected a learning rate above 0"),
        (np.zeros((3, 2)), {"max_examples": 0}, "max_examples=0; expected a whole number of at least 1"),
        (np.zeros((3, 2)), {"kind": "tabel"}, "did you mean 'table'?"),
        (np.zeros((3, 2)), {"target": np.zeros(3), "task": "classify"}, "did you mean 'classification'?"),
        (np.zeros((3, 2)), {"names": ["a"]}, "1 names for 2 features"),
        (np.array(["a"]), {}, "expected real numbers"),
        ([(torch.zeros(4, 2), torch.zeros(5))], {}, "parts of 4 and 5 examples"),
        ([(["a", "b"], torch.zeros(2))], {}, "holds no tensor or array of inputs"),
    ],
)
def test_errors_name_what_is_wrong(data: Any, options: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError) as caught:
        check_data(data, progress=False, **options)
    assert words in str(caught.value)


def test_without_scikit_learn_a_remedy_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.pipeline", None)
    with pytest.raises(UsageError, match=r"pip install 'lossdoctor\[sklearn\]'"):
        Remedy(what="Fill the gaps.", pipeline="impute").fix(np.zeros((3, 1)))
    with pytest.raises(UsageError, match="no pipeline"):
        Remedy(what="Look at these rows.").fix(np.zeros((3, 1)))


def test_real_tables() -> None:
    wine = datasets.load_wine()
    result = check_data(wine.data, wine.target, names=wine.feature_names, progress=False)
    assert result.findings[0].check == "scale"
    assert result.findings[0].feature == "proline"
    remedy = result.findings[0].remedy
    assert remedy is not None
    fixed = check_data(remedy.fix(wine.data).transform(wine.data), wine.target, progress=False)
    assert not fixed.found("scale")
    assert fixed.critical_rate > 1e4 * result.critical_rate
