"""What every training script shares: graphed steps, a schedule in seconds, averaged weights."""

from __future__ import annotations

import json
import math
import time
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
torch.backends.cudnn.benchmark = True  # shapes are few and fixed


def autocast() -> torch.autocast:
    """bf16 arithmetic over fp32 weights; no weight cache, which a CUDA graph could not refresh."""
    return torch.autocast(DEVICE.type, torch.bfloat16, cache_enabled=False)


class Clock:
    """Seconds left of a part, and the fraction of the whole schedule that has passed."""

    def __init__(self, budget: float, done: float = 0.0, total: float | None = None) -> None:
        """A part of `budget` seconds after `done` seconds of a schedule of `total` seconds."""
        self.started, self.budget, self.done = time.monotonic(), budget, done
        self.total = total or budget

    @property
    def elapsed(self) -> float:
        """Seconds since the clock was made."""
        return time.monotonic() - self.started

    @property
    def progress(self) -> float:
        """0 at the schedule's start, 1 at its end, over all parts."""
        return min(1.0, (self.done + self.elapsed) / self.total)

    def running(self) -> bool:
        """Whether this part has time left."""
        return self.elapsed < self.budget


class Trainer:
    """AdamW under a cosine, clipped gradients and a moving average, one graph per batch shape.

    `losses` maps a name to a function that draws its own batch and returns a scalar; it must not
    synchronise with the host, because it is captured once and replayed ever after.
    """

    def __init__(
        self,
        modules: Iterable[nn.Module],
        losses: dict[str, Callable[[], Tensor]],
        *,
        peak: float,
        decay: float,
        weight_decay: float = 0.01,
    ) -> None:
        """Start the average at the present weights."""
        self.parameters = [p for m in modules for p in m.parameters() if p.requires_grad]
        self.average = [p.detach().clone() for p in self.parameters]
        self.peak, self.decay, self.losses = peak, decay, losses
        self.rate = torch.tensor(peak, device=DEVICE)
        self.optimizer = torch.optim.AdamW(
            self.parameters,
            lr=self.rate,
            betas=(0.9, 0.98),
            weight_decay=weight_decay,
            fused=DEVICE.type == "cuda",
            capturable=DEVICE.type == "cuda",
        )
        self.replays: dict[str, Callable[[], Tensor]] = {}
        self.steps = 0

    def step(self, name: str, progress: float, warmup: int = 300) -> Tensor:
        """One optimiser step on the named loss; returns the (device) loss of that step."""
        if name not in self.replays:
            self.replays[name] = self._capture(self.losses[name])
        ramp = min(1.0, (self.steps + 1) / warmup)
        self.rate.fill_(self.peak * ramp * (0.01 + 0.99 * (1 + math.cos(math.pi * progress)) / 2))
        self.steps += 1
        return self.replays[name]()

    def swap(self) -> None:
        """Exchange weights and their average: call before saving or judging, and again after."""
        for parameter, average in zip(self.parameters, self.average, strict=True):
            held = parameter.detach().clone()
            parameter.data.copy_(average)
            average.copy_(held)

    def _run(self, loss_of: Callable[[], Tensor]) -> Tensor:
        loss = loss_of()
        loss.backward()
        for parameter in self.parameters:  # a batch that overflows must not end the run
            parameter.grad.nan_to_num_(0.0, 0.0, 0.0)
        nn.utils.clip_grad_norm_(self.parameters, 1.0)
        self.optimizer.step()
        torch._foreach_lerp_(self.average, [p.detach() for p in self.parameters], 1 - self.decay)
        return loss.detach()

    def _capture(self, loss_of: Callable[[], Tensor]) -> Callable[[], Tensor]:
        """Record a step as a CUDA graph; on a CPU just run it."""

        def eager() -> Tensor:
            self.optimizer.zero_grad(set_to_none=True)
            return self._run(loss_of)

        if DEVICE.type == "cpu":
            return eager
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(3):
                eager()
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        self.optimizer.zero_grad(set_to_none=True)
        with torch.cuda.graph(graph):
            loss = self._run(loss_of)

        def replay() -> Tensor:
            graph.replay()
            return loss

        return replay


class Log:
    """Prints a line now and then and keeps a curve as JSON lines."""

    def __init__(self, path: Path, every: float = 20.0) -> None:
        """Start a file beside the checkpoints."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path, self.every, self.last = path, every, 0.0

    def __call__(self, clock: Clock, **values: float | Tensor) -> None:
        """Write the values if the last line is old enough (reading them waits for the device)."""
        if clock.elapsed - self.last < self.every:
            return
        self.last = clock.elapsed
        row = {key: round(float(value), 5) for key, value in values.items()}
        row["seconds"] = round(clock.done + clock.elapsed)
        print(row, flush=True)
        with self.path.open("a") as file:
            file.write(json.dumps(row) + "\n")


def save_weights(module: nn.Module, path: Path) -> None:
    """A bf16 state dict: half the size, and precise enough to train on from."""
    path.parent.mkdir(parents=True, exist_ok=True)
    state = {
        k: v.detach().to("cpu", torch.bfloat16).contiguous() for k, v in module.state_dict().items()
    }
    save_file(state, path)
