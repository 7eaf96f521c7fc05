"""Train the classifier of what prompts mean: `src/onetake/safety/meaning.npz`.

    python -m training.safety.train      # a minute on two CPU cores

Logistic regressions on sentence embeddings of `examples.jsonl`, as written and with words hidden
and undone as a prompt's are. Each category's threshold is chosen on folds that it was not trained
on: the lowest at which at most ALLOWED of the innocent examples are found.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from onetake.policy import CATEGORIES
from onetake.safety.meaning import WEIGHTS, embed
from onetake.safety.normalise import plain

EXAMPLES = Path(__file__).with_name("examples.jsonl")
TAUGHT = tuple(category for category in CATEGORIES if category != "brands")
FOLDS, STEPS, DECAY = 5, 100, 1e-4
ALLOWED = 0.005  # false blocks of innocent examples, a third of them near misses, a category
LEAST = 0.5  # no threshold is below


def main() -> None:
    """Embed, choose thresholds by folds, train on all, save and report."""
    torch.manual_seed(3)
    rows = [json.loads(line) for line in EXAMPLES.read_text(encoding="utf-8").splitlines()]
    x = torch.from_numpy(embed([plain(row["text"]) for row in rows]))
    y = torch.tensor([[row["category"] == name for name in TAUGHT] for row in rows]).float()
    innocent = y.sum(dim=1) == 0
    fold = torch.randperm(len(rows)) % FOLDS
    scores = torch.zeros_like(y)
    for k in range(FOLDS):
        weights, bias = fit(x[fold != k], y[fold != k])
        scores[fold == k] = (x[fold == k] @ weights.T + bias).sigmoid()
    thresholds = np.zeros(len(TAUGHT), np.float32)
    for i, name in enumerate(TAUGHT):
        highest = scores[innocent, i].sort(descending=True).values
        threshold = max(LEAST, float(highest[int(ALLOWED * len(highest))]) + 1e-4)
        thresholds[i] = threshold
        found = (scores[y[:, i] == 1, i] > threshold).float().mean().item()
        wrong = (scores[innocent, i] > threshold).float().mean().item()
        print(f"{name}: threshold {threshold:.3f}, finds {found:.3f}, innocent {wrong:.4f}")
    weights, bias = fit(x, y)
    arrays: dict[str, NDArray[np.generic]] = {
        "categories": np.array(TAUGHT),
        "weights": weights.numpy().astype(np.float32),
        "biases": bias.numpy().astype(np.float32),
        "thresholds": thresholds,
    }
    np.savez(WEIGHTS, **arrays)


def fit(x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Weights [C, D] and biases [C] for unit vectors [N, D] and labels [N, C]; rare ones count."""
    weights = torch.zeros(y.shape[1], x.shape[1], requires_grad=True)
    bias = torch.zeros(y.shape[1], requires_grad=True)
    optimiser = torch.optim.LBFGS([weights, bias], max_iter=STEPS, line_search_fn="strong_wolfe")
    rarity = ((1 - y).sum(dim=0) / y.sum(dim=0).clamp_min(1)).sqrt()

    def loss() -> torch.Tensor:
        optimiser.zero_grad()
        logits = x @ weights.T + bias
        value = torch.nn.functional.binary_cross_entropy_with_logits(logits, y, pos_weight=rarity)
        value = value + DECAY * weights.square().sum() / y.shape[1]
        value.backward()
        return value

    optimiser.step(loss)
    return weights.detach(), bias.detach()


if __name__ == "__main__":
    main()
