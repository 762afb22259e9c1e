"""A forest of decision trees read from plain JSON: averages over trees, and which inputs moved the answer.

The trees are fitted elsewhere (``benchmarks/advice/fit.py``); here they are only followed, so that no machine-learning
package is needed and nothing that could run is ever loaded.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

LEAF = -1


@dataclass(frozen=True)
class Tree:
    """One tree in parallel lists, a place per node.

    Attributes:
        sign: index of the input that the node asks about; -1 in a leaf.
        limit: at or below it, or where the input is unknown (NaN), one goes left.
        right: the node to the right; the one to the left is the next in the lists.
        value: the answers at the node that are not zero, as pairs of an output's index and per mille; of inner nodes
            the mean over what lies below, where it was written down.
    """

    sign: Sequence[int]
    limit: Sequence[float]
    right: Sequence[int]
    value: Sequence[Sequence[int]]

    def path(self, inputs: Sequence[float]) -> list[int]:
        """The nodes from the root to the leaf of these inputs."""
        node, seen = 0, [0]
        while self.sign[node] != LEAF:
            known = inputs[self.sign[node]]
            goes_right = not math.isnan(known) and known > self.limit[node]
            node = self.right[node] if goes_right else node + 1
            seen.append(node)
        return seen


@dataclass(frozen=True)
class Forest:
    """Trees that answer the same questions.

    Attributes:
        inputs: names of the inputs, in order.
        outputs: names of the answers, in order.
        trees: the trees.
    """

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    trees: tuple[Tree, ...]

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Forest:
        """Read ``{"inputs": […], "outputs": […], "trees": [{"sign": […], …}]}``.

        >>> stump = {"sign": [0, -1, -1], "limit": [1.5, 0, 0], "right": [2, 0, 0]}
        >>> data = {"inputs": ["x"], "outputs": ["ill"], "trees": [{**stump, "value": [[0, 500], [], [0, 1000]]}]}
        >>> Forest.from_json(data).answers({"x": 2.0})
        {'ill': 1.0}
        """
        # Tuples of numbers: the garbage collector looks at them once, and at lists again and again.
        trees = tuple(
            Tree(tuple(t["sign"]), tuple(t["limit"]), tuple(t["right"]), tuple(map(tuple, t["value"])))
            for t in data["trees"]
        )
        return cls(tuple(data["inputs"]), tuple(data["outputs"]), trees)

    def vector(self, known: Mapping[str, float]) -> list[float]:
        """The inputs in order; NaN for what is not known."""
        return [known.get(name, math.nan) for name in self.inputs]

    def answers(self, known: Mapping[str, float]) -> dict[str, float]:
        """Each output's mean over the trees, 0 to 1."""
        return self._alone.answers(known)[0]

    @cached_property
    def _alone(self) -> Grove:
        return Grove((self,))

    def moved_by(self, known: Mapping[str, float], output: str) -> list[tuple[str, float]]:
        """How much each input moved one answer away from its mean over all runs, the largest first.

        The change of the mean from a node to the next is put down to the input that the node asked about
        (Saabas 2014), so the mean at the roots plus all moves is the answer. Only for forests whose inner nodes have
        their values written down.
        """
        inputs, at = self.vector(known), self.outputs.index(output)

        def answer(tree: Tree, node: int) -> int:
            pairs = tree.value[node]
            return next((pairs[i + 1] for i in range(0, len(pairs), 2) if pairs[i] == at), 0)

        moves: dict[str, float] = {}
        for tree in self.trees:
            path = tree.path(inputs)
            for node, then in pairwise(path):
                name = self.inputs[tree.sign[node]]
                moves[name] = moves.get(name, 0.0) + answer(tree, then) - answer(tree, node)
        scaled = ((name, total / (1000.0 * len(self.trees))) for name, total in moves.items())
        return sorted(scaled, key=lambda move: (-abs(move[1]), move[0]))


class Grove:
    """Several forests that are asked the same: all of their trees are followed at once, a level at a time.

    Args:
        forests: at least one.

    >>> stump = {"sign": [0, -1, -1], "limit": [1.5, 0, 0], "right": [2, 0, 0], "value": [[], [], [0, 1000]]}
    >>> forest = Forest.from_json({"inputs": ["x"], "outputs": ["ill"], "trees": [stump]})
    >>> Grove((forest, forest)).answers({"x": 2.0})
    [{'ill': 1.0}, {'ill': 1.0}]
    """

    def __init__(self, forests: Sequence[Forest]) -> None:
        self.forests = tuple(forests)
        self._inputs = list(dict.fromkeys(name for f in forests for name in f.inputs))
        place = {name: i for i, name in enumerate(self._inputs)}
        trees = [t for f in forests for t in f.trees]
        sizes = np.array([len(t.sign) for t in trees])
        self._roots = np.cumsum(sizes) - sizes
        sign = np.concatenate([np.asarray(t.sign) for t in trees])
        leaf = sign == LEAF
        right = np.concatenate([np.asarray(t.right) for t in trees]) + np.repeat(self._roots, sizes)
        self._depth, inner = 0, self._roots[~leaf[self._roots]]
        while len(inner):
            below = np.concatenate((inner + 1, right[inner]))
            inner = below[~leaf[below]]
            self._depth += 1
        of = np.repeat([k for k, f in enumerate(forests) for _ in f.trees], sizes)
        asked = np.full(len(sign), len(place))  # a leaf asks what is never unknown, and leads to itself
        for k, forest in enumerate(forests):
            mine = (of == k) & ~leaf
            asked[mine] = np.array([place[name] for name in forest.inputs])[sign[mine]]
        self._sign, self._leaf = asked.astype(np.int16), len(place)
        self._right = np.where(leaf, np.arange(len(sign)), right).astype(np.int32)
        limit = np.concatenate([np.asarray(t.limit, np.float64) for t in trees])
        self._limit = np.where(leaf, -np.inf, limit)
        ends = np.cumsum([len(f.trees) for f in forests])
        self._parts = [slice(int(end) - len(f.trees), int(end)) for f, end in zip(forests, ends, strict=True)]
        self._values = [_leaf_values(f) for f in forests]
        self._first = [int(self._roots[part.start]) for part in self._parts]

    def answers(self, known: Mapping[str, float]) -> list[dict[str, float]]:
        """Of each forest each output's mean over its trees, 0 to 1."""
        inputs = np.array([*(known.get(name, math.nan) for name in self._inputs), 0.0])
        node = self._roots
        for level in range(self._depth):
            sign = self._sign.take(node)
            if level % 3 == 2 and sign.min() == self._leaf:  # most trees end long before the deepest of them
                break
            goes_right = inputs.take(sign) > self._limit.take(node)  # NaN goes left
            node = np.where(goes_right, self._right.take(node), node + 1)
        found = []
        for forest, part, values, first in zip(self.forests, self._parts, self._values, self._first, strict=True):
            sums = values[node[part] - first].sum(axis=0).tolist()
            scale = 1000.0 * len(forest.trees)
            found.append({name: total / scale for name, total in zip(forest.outputs, sums, strict=True)})
        return found


def _leaf_values(forest: Forest) -> NDArray[np.int16]:
    """int16[node, output]: per mille at the leaves, 0 elsewhere."""
    sign = np.concatenate([np.asarray(t.sign) for t in forest.trees])
    every = [pairs for t in forest.trees for pairs in t.value]
    flat = np.fromiter(chain.from_iterable(every), np.int16)
    node = np.repeat(np.arange(len(sign)), np.fromiter(map(len, every), np.intp) // 2)
    kept = sign[node] == LEAF
    values = np.zeros((len(sign), len(forest.outputs)), np.int16)
    values[node[kept], flat[::2][kept]] = flat[1::2][kept]
    return values
