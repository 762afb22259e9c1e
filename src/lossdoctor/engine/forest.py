"""A forest of decision trees read from plain JSON: averages over trees, and which inputs moved the answer.

The trees are fitted elsewhere (``benchmarks/advice/fit.py``); here they are only followed, so that no machine-learning
package is needed and nothing that could run is ever loaded.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

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
        trees = tuple(Tree(t["sign"], t["limit"], t["right"], t["value"]) for t in data["trees"])
        return cls(tuple(data["inputs"]), tuple(data["outputs"]), trees)

    def vector(self, known: Mapping[str, float]) -> list[float]:
        """The inputs in order; NaN for what is not known."""
        return [known.get(name, math.nan) for name in self.inputs]

    def answers(self, known: Mapping[str, float]) -> dict[str, float]:
        """Each output's mean over the trees, 0 to 1."""
        inputs = self.vector(known)
        sums = [0] * len(self.outputs)
        for tree in self.trees:
            leaf = tree.value[tree.path(inputs)[-1]]
            for i in range(0, len(leaf), 2):
                sums[leaf[i]] += leaf[i + 1]
        return {name: total / (1000.0 * len(self.trees)) for name, total in zip(self.outputs, sums, strict=True)}

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
