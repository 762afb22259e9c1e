"""A forest of decision trees read from plain JSON: averages over trees, and which inputs moved the answer.

The trees are fitted elsewhere (``benchmarks/advice/fit.py``); here they are only followed, so that no machine-learning
package is needed and nothing that could run is ever loaded.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
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


@dataclass(frozen=True, eq=False)
class _Packed:
    """All trees in one set of arrays, so that all of them are followed at once, a level at a time.

    Attributes:
        roots: the trees' first nodes; ``depth`` the number of steps to the deepest leaf.
        sign, limit, left, right: as in :class:`Tree`; a leaf leads to itself.
        value: int[node, output], per mille; of leaves only.
    """

    roots: NDArray[np.intp]
    depth: int
    sign: NDArray[np.intp]
    limit: NDArray[np.float64]
    left: NDArray[np.intp]
    right: NDArray[np.intp]
    value: NDArray[np.int32]

    @classmethod
    def of(cls, trees: Sequence[Tree], outputs: int) -> _Packed:
        sizes = np.array([len(t.sign) for t in trees])
        roots = np.cumsum(sizes) - sizes
        sign = np.array([s for t in trees for s in t.sign], np.intp)
        limit = np.array([v for t in trees for v in t.limit], np.float64)
        nodes = np.arange(len(sign))
        leaf = sign == LEAF
        right = np.array([r for t in trees for r in t.right], np.intp) + np.repeat(roots, sizes)
        left, right = np.where(leaf, nodes, nodes + 1), np.where(leaf, nodes, right)
        value = np.zeros((len(sign), outputs), np.int32)
        for node, pairs in zip(nodes.tolist(), (v for t in trees for v in t.value), strict=True):
            if leaf[node]:
                value[node, pairs[::2]] = pairs[1::2]
        depth, at = 0, roots
        while not leaf[at].all():
            at = np.unique(np.concatenate((left[at], right[at])))
            depth += 1
        return cls(roots, depth, np.where(leaf, 0, sign), limit, left, right, value)

    def sums(self, inputs: NDArray[np.float64]) -> list[int]:
        """Per mille of each output, summed over the trees."""
        node = self.roots
        for _ in range(self.depth):
            goes_right = inputs[self.sign[node]] > self.limit[node]  # NaN goes left
            node = np.where(goes_right, self.right[node], self.left[node])
        total: list[int] = self.value[node].sum(axis=0).tolist()
        return total


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
        trees = tuple(Tree(t["sign"], t["limit"], t["right"], t["value"]) for t in data["trees"])
        return cls(tuple(data["inputs"]), tuple(data["outputs"]), trees)

    def vector(self, known: Mapping[str, float]) -> list[float]:
        """The inputs in order; NaN for what is not known."""
        return [known.get(name, math.nan) for name in self.inputs]

    def answers(self, known: Mapping[str, float]) -> dict[str, float]:
        """Each output's mean over the trees, 0 to 1."""
        sums = self._packed.sums(np.array(self.vector(known)))
        return {name: total / (1000.0 * len(self.trees)) for name, total in zip(self.outputs, sums, strict=True)}

    @cached_property
    def _packed(self) -> _Packed:
        return _Packed.of(self.trees, len(self.outputs))

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
            for node, then in itertools.pairwise(path):
                name = self.inputs[tree.sign[node]]
                moves[name] = moves.get(name, 0.0) + answer(tree, then) - answer(tree, node)
        scaled = ((name, total / (1000.0 * len(self.trees))) for name, total in moves.items())
        return sorted(scaled, key=lambda move: (-abs(move[1]), move[0]))
