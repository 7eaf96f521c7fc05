"""Train the classifier of what prompts mean: `src/onetake/trust/safety/meaning.npz`.

    python -m training.safety.train      # some minutes on two CPU cores, most of them embedding

Small networks of one hidden layer, their outputs averaged, on sentence embeddings of
`examples.jsonl`. The threshold is chosen on folds that were not trained on: the lowest at which at
most ALLOWED of the innocent examples are found, half of which are near misses.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from onetake.trust.policy import CATEGORIES
from onetake.trust.safety.meaning import WEIGHTS, Classifier, embed, unsafe
from onetake.trust.safety.normalise import plain

EXAMPLES = Path(__file__).with_name("examples.jsonl")
TAUGHT = tuple(category for category in CATEGORIES if category != "brands")
FOLDS = 5
MEMBERS, HIDDEN = 4, 256  # networks, and neurons of each
EPOCHS, BATCH, RATE, DECAY, DROPPED = 60, 128, 2e-3, 0.1, 0.5
ALLOWED = 0.045  # of innocent examples


def main() -> None:
    """Embed, choose the threshold by folds, train on all, save and report."""
    torch.manual_seed(3)
    rows = [json.loads(line) for line in EXAMPLES.read_text(encoding="utf-8").splitlines()]
    x = embed([plain(row["text"]) for row in rows])
    y = torch.tensor([[row["category"] == name for name in TAUGHT] for row in rows]).float()
    innocent = y.sum(dim=1) == 0
    fold = torch.randperm(len(rows)) % FOLDS
    scores = torch.zeros_like(y)
    for k in range(FOLDS):
        scores[fold == k] = torch.from_numpy(fit(x[fold != k], y[fold != k]).scores(x[fold == k]))
    any_of_them = torch.from_numpy(unsafe(scores.numpy()))
    highest = any_of_them[innocent].sort(descending=True).values
    threshold = np.float32(highest[int(ALLOWED * len(highest))])
    print(f"threshold {threshold:.3f}")
    for i, name in enumerate(TAUGHT):
        share = (any_of_them[y[:, i] == 1] > threshold).float().mean().item()
        print(f"{name}: finds {share:.3f}")
    found = fit(x, y)._replace(threshold=np.asarray(threshold))
    np.savez(WEIGHTS, **{name: _small(value) for name, value in found._asdict().items()})


def _small(value: NDArray[np.generic] | tuple[str, ...]) -> NDArray[np.generic]:
    array = np.asarray(value)
    return array.astype(np.float16) if array.ndim > 1 else array


def fit(x: NDArray[np.float32], y: torch.Tensor) -> Classifier:
    """A classifier for unit vectors [N, D] and labels [N, C], its threshold left at 0."""
    mean, deviation = x.mean(axis=0), x.std(axis=0)
    inputs = torch.from_numpy((x - mean) / deviation)
    members = [_member(inputs, y) for _ in range(MEMBERS)]
    first = np.concatenate([a.weight.detach().numpy() for a, _ in members]) / deviation
    shift = np.concatenate([a.bias.detach().numpy() for a, _ in members]) - first @ mean
    second = np.concatenate([b.weight.detach().numpy() for _, b in members], axis=1) / MEMBERS
    bias = sum(b.bias.detach().numpy() for _, b in members) / MEMBERS
    return Classifier(TAUGHT, first, shift, second, bias, np.zeros((), np.float32))


def _member(inputs: torch.Tensor, y: torch.Tensor) -> tuple[torch.nn.Linear, torch.nn.Linear]:
    """Both layers of one network."""
    one, two = torch.nn.Linear(inputs.shape[1], HIDDEN), torch.nn.Linear(HIDDEN, y.shape[1])
    drop = torch.nn.Dropout(DROPPED)
    network = torch.nn.Sequential(drop, one, torch.nn.ReLU(), drop, two)
    optimiser = torch.optim.AdamW(network.parameters(), weight_decay=DECAY)
    steps = EPOCHS * len(inputs) // BATCH
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=steps)
    for _ in range(steps):
        chosen = torch.randint(len(inputs), (BATCH,))
        optimiser.zero_grad()
        torch.nn.functional.binary_cross_entropy_with_logits(
            network(inputs[chosen]), y[chosen]
        ).backward()
        optimiser.step()
        schedule.step()
    return one, two


if __name__ == "__main__":
    main()
