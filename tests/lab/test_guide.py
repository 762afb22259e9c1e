"""The guides: whole, sourced, and in step with what the lab has."""

from __future__ import annotations

import pytest

from lossdoctor.core.errors import UsageError
from lossdoctor.lab import experiments, guide, optimizers, schedules


@pytest.mark.parametrize("name", guide.topics())
def test_topic(name: str) -> None:
    topic = guide.topic(name)
    assert topic.table is guide.get(name)
    assert topic.title
    assert topic.about.endswith(".")
    assert topic.table.columns[-1] == "source"
    assert len(topic.table.rows) >= 4
    for row in topic.table.rows:
        keys = str(row[-1]).split(", ")
        assert keys != [""]
        assert set(keys) <= set(guide.sources(name))
        assert all(cell != "" for cell in row)


def test_no_source_is_unused() -> None:
    used = {key for name in guide.topics() for key in guide.sources(name)}
    import tomllib
    from importlib import resources

    data = tomllib.loads(resources.files("lossdoctor.lab").joinpath(guide.FILE).read_text("utf-8"))
    assert used == set(data["sources"])


def test_names_exist_in_the_lab() -> None:
    assert {row[1] for row in guide.get("optimizers").rows} <= set(optimizers.names())
    assert {row[1] for row in guide.get("schedules").rows} <= set(schedules.names())


@pytest.mark.parametrize("name", guide.topics())
def test_experiments_that_are_named_exist(name: str) -> None:
    about = guide.topic(name).about
    if "lab run " not in about:
        return
    for word in about.split("lab run ", 1)[1].rstrip(".").split(", "):
        assert experiments.get(word).name == word


def test_the_rates_of_the_source() -> None:
    rates = {row[0]: row[1] for row in guide.get("learning_rates").rows}
    assert rates["linear regression"] == 0.01
    assert rates["small neural network"] == 0.001
    assert rates["CNN from scratch"] == 0.01
    assert rates["CNN, transfer learning"] == 0.0001
    assert rates["transformer, pre-training"] == 0.0001
    assert rates["language model, fine-tuning"] == 0.00001
    assert rates["Stable Diffusion, fine-tuning"] == 0.00001


def test_unknown_topic() -> None:
    with pytest.raises(UsageError, match=r"there is no guide 'optimisers'.*did you mean 'optimizers'"):
        guide.get("optimisers")
    assert guide.topic("Batch-Size").name == "batch_size"
