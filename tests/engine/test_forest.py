"""Trees from JSON answer as scikit-learn's own do, and say what moved the answer."""

from __future__ import annotations

import math

import numpy as np
import pytest

from lossdoctor.engine.experience import experience
from lossdoctor.engine.forest import LEAF, Forest

STUMP = {"sign": [0, LEAF, LEAF], "limit": [1.5, 0, 0], "right": [2, 0, 0]}


def _forest() -> Forest:
    first = {**STUMP, "value": [[0, 500, 1, 100], [1, 200], [0, 1000]]}
    second = {**STUMP, "sign": [1, LEAF, LEAF], "value": [[0, 400], [0, 200], [0, 600]]}
    return Forest.from_json({"inputs": ["x", "y"], "outputs": ["ill", "well"], "trees": [first, second]})


def test_answers_are_means_over_the_trees() -> None:
    answers = _forest().answers({"x": 2.0, "y": 0.0})
    assert answers == {"ill": pytest.approx(0.6), "well": 0.0}


def test_what_is_unknown_goes_left() -> None:
    assert _forest().answers({}) == _forest().answers({"x": -1.0, "y": math.nan})


def test_the_moves_and_the_roots_add_up_to_the_answer() -> None:
    known = {"x": 2.0, "y": 0.0}
    moves = dict(_forest().moved_by(known, "ill"))
    assert moves == {"x": pytest.approx(0.25), "y": pytest.approx(-0.1)}
    assert 0.45 + sum(moves.values()) == pytest.approx(_forest().answers(known)["ill"])


def test_the_shipped_forests_hold_together() -> None:
    known = experience()
    for forest in (known.ill, known.causes, known.outcomes):
        for tree in forest.trees:
            count = len(tree.sign)
            assert {len(tree.limit), len(tree.right), len(tree.value)} == {count}
            for node in range(count):
                if tree.sign[node] != LEAF:
                    assert node + 1 < tree.right[node] < count
                    assert 0 <= tree.sign[node] < len(forest.inputs)
                pairs = tree.value[node]
                assert all(0 <= i < len(forest.outputs) for i in pairs[::2])
                assert all(0 <= v <= 1000 for v in pairs[1::2])
    moves = known.ill.moved_by({"train_lost": 0.9}, "ill")
    roots = float(
        np.mean([dict(zip(t.value[0][::2], t.value[0][1::2], strict=True)).get(0, 0) for t in known.ill.trees])
    )
    total = roots / 1000.0 + sum(v for _, v in moves)
    assert total == pytest.approx(known.ill.answers({"train_lost": 0.9})["ill"], abs=1e-9)
