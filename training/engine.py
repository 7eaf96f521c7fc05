"""What every training script shares: graphed steps, a schedule in seconds, averaged weights.

Under `torchrun --nproc-per-node N` each process draws its own clips on its own GPU and gradients
are averaged; alone, a script is the same with N = 1.
"""

from __future__ import annotations

import json
import math
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

import torch
import torch.distributed as dist
from safetensors.torch import save_file
from torch import Tensor, nn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

RANK, WORLD = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
LOCAL = int(os.environ.get("LOCAL_RANK", "0"))
DEVICE = torch.device("cuda", LOCAL) if torch.cuda.is_available() else torch.device("cpu")
torch.backends.cudnn.benchmark = True  # shapes are few and fixed
AGREE_EVERY = 20  # steps between readings of the clock, which wait for the device


def join() -> None:
    """Meet the other processes, if there are any."""
    if DEVICE.type == "cuda":
        torch.cuda.set_device(DEVICE)
    if WORLD > 1:
        dist.init_process_group("nccl" if DEVICE.type == "cuda" else "gloo")


def agree(value: float) -> float:
    """The first process's value, in all of them."""
    shared = torch.tensor(value, device=DEVICE, dtype=torch.float64)
    if WORLD > 1:
        dist.broadcast(shared, 0)
    return float(shared)


def say(text: object) -> None:
    """Print once, not once a process."""
    if RANK == 0:
        print(text, flush=True)


def autocast() -> torch.autocast:
    """bf16 arithmetic over fp32 weights; no weight cache, which a CUDA graph could not refresh."""
    return torch.autocast(DEVICE.type, torch.bfloat16, cache_enabled=False)


class Clock:
    """Seconds of a part as all processes count them, and how far the whole schedule has come."""

    def __init__(self, budget: float, done: float = 0.0, total: float | None = None) -> None:
        """A part of `budget` seconds after `done` seconds of a schedule of `total` seconds."""
        self.started, self.budget, self.done = time.monotonic(), agree(budget), done
        self.total, self.elapsed = total or done + self.budget, 0.0

    @property
    def progress(self) -> float:
        """0 at the schedule's start, 1 at its end, over all parts."""
        return min(1.0, (self.done + self.elapsed) / self.total)

    def running(self, step: int) -> bool:
        """Whether this part has time left; the time is read every few steps."""
        if step % AGREE_EVERY == 0:
            self.elapsed = agree(time.monotonic() - self.started)
        return self.elapsed < self.budget


class Muon:
    """Steps along the orthogonalised momentum of matrices, all of one shape at once.

    Jordan et al. 2024 (github.com/KellerJordan/Muon). A step is twice as long as AdamW's at the
    same rate by the measure of Liu et al. 2025 (arXiv:2502.16982).
    """

    def __init__(self, matrices: list[nn.Parameter], rate: Tensor, weight_decay: float) -> None:
        """Sort the matrices by shape, tall ones turned."""
        self.groups: dict[tuple[int, int], list[nn.Parameter]] = {}
        for matrix in matrices:
            rows, columns = sorted(matrix.shape)
            self.groups.setdefault((rows, columns), []).append(matrix)
        self.momenta = {
            shape: torch.zeros(len(group), *shape, device=DEVICE)
            for shape, group in self.groups.items()
        }
        self.rate, self.weight_decay = rate, weight_decay

    @torch.no_grad()
    def step(self) -> None:
        """One update from the gradients that are there."""
        for shape, group in self.groups.items():
            gradient = torch.stack([_upright(p.grad) for p in group])
            momentum = self.momenta[shape].lerp_(gradient, 0.05)
            direction = _orthogonal(gradient.lerp(momentum, 0.95))  # as Nesterov has it
            change = direction * (-0.4 * max(shape) ** 0.5 * self.rate)
            keep = 1 - self.rate * self.weight_decay
            for parameter, part in zip(group, change, strict=True):
                turned = part if parameter.shape == part.shape else part.mT
                parameter.mul_(keep).add_(turned)


def _upright(matrix: Tensor) -> Tensor:
    return matrix if matrix.shape[0] <= matrix.shape[1] else matrix.mT


def _orthogonal(x: Tensor) -> Tensor:
    """Bring the singular values of [G, rows <= columns] near 1: five Newton-Schulz steps, bf16."""
    x = (x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)).bfloat16()
    for _ in range(5):
        square = x @ x.mT
        x = 3.4445 * x + (-4.7750 * square + 2.0315 * square @ square) @ x
    return x.float()


class Trainer:
    """AdamW under a cosine, clipped gradients and a moving average, one graph per batch shape.

    Matrices of hidden layers are stepped by Muon instead if `muon` says so.

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
        muon: bool = False,
    ) -> None:
        """Start the average at the present weights, the first process's."""
        modules = list(modules)
        self.parameters = [p for m in modules for p in m.parameters() if p.requires_grad]
        matrices = [m.weight for top in modules for m in hidden_layers(top)] if muon else []
        # Gradients are pieces of one buffer, laid out as their parameters, which fused AdamW needs.
        self.gradient = torch.zeros(sum(p.numel() for p in self.parameters), device=DEVICE)
        pieces = self.gradient.split([p.numel() for p in self.parameters])
        for parameter, piece in zip(self.parameters, pieces, strict=True):
            parameter.grad = piece.as_strided(
                parameter.shape, parameter.stride(), piece.storage_offset()
            )
            if WORLD > 1:
                dist.broadcast(parameter.data, 0)
        self.average = [p.detach().clone() for p in self.parameters]
        self.peak, self.decay, self.losses = peak, decay, losses
        self.rate = torch.tensor(peak, device=DEVICE)
        self.muon = Muon(matrices, self.rate, weight_decay)
        apart = set(matrices)
        self.optimizer = torch.optim.AdamW(
            [p for p in self.parameters if p not in apart],
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

    def _backward(self, loss_of: Callable[[], Tensor]) -> Tensor:
        self.gradient.zero_()
        loss = loss_of()
        loss.backward()
        return loss.detach()

    def _update(self) -> None:
        # A batch that overflows must not end the run.
        self.gradient.nan_to_num_(0.0, 0.0, 0.0).div_(WORLD)
        self.gradient.mul_((1.0 / (self.gradient.norm() + 1e-6)).clamp_max(1.0))
        self.optimizer.step()
        self.muon.step()
        torch._foreach_lerp_(self.average, [p.detach() for p in self.parameters], 1 - self.decay)

    def _share(self) -> None:
        if WORLD > 1:
            dist.all_reduce(self.gradient)

    def _capture(self, loss_of: Callable[[], Tensor]) -> Callable[[], Tensor]:
        """Record a step as CUDA graphs, the exchange between them; on a CPU just run it."""

        def eager() -> Tensor:
            loss = self._backward(loss_of)
            self._share()
            self._update()
            return loss

        if DEVICE.type == "cpu":
            return eager
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(3):
                eager()
        torch.cuda.current_stream().wait_stream(side)
        torch.cuda.synchronize()
        before, after = torch.cuda.CUDAGraph(), torch.cuda.CUDAGraph()
        # The exchange's own thread asks the device for events; only this thread's calls count.
        with torch.cuda.graph(before, capture_error_mode="thread_local"):
            loss = self._backward(loss_of)
        with torch.cuda.graph(after, capture_error_mode="thread_local"):
            self._update()

        def replay() -> Tensor:
            before.replay()
            self._share()
            after.replay()
            return loss

        return replay


def hidden_layers(module: nn.Module) -> list[nn.Linear]:
    """Linear layers that are trained, but for the last one and bias tables."""
    return [
        layer
        for name, layer in module.named_modules()
        if isinstance(layer, nn.Linear) and layer.weight.requires_grad and "proj_out" not in name
    ]


class Log:
    """Prints a line now and then and keeps a curve as JSON lines."""

    def __init__(self, path: Path, every: float = 20.0) -> None:
        """Go on in a file beside the checkpoints."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path, self.every, self.last = path, every, 0.0

    def __call__(self, clock: Clock, **values: float | Tensor) -> None:
        """Write the values if the last line is old enough (reading them waits for the device)."""
        if RANK > 0 or clock.elapsed - self.last < self.every:
            return
        self.last = clock.elapsed
        row = {key: round(float(value), 5) for key, value in values.items()}
        row["seconds"] = round(clock.done + clock.elapsed)
        print(row, flush=True)
        with self.path.open("a") as file:
            file.write(json.dumps(row) + "\n")


def save_weights(module: nn.Module, path: Path) -> None:
    """A bf16 state dict: half the size, and precise enough to train on from."""
    if RANK > 0:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    state = {
        k: v.detach().to("cpu", torch.bfloat16).contiguous() for k, v in module.state_dict().items()
    }
    save_file(state, path)


def seconds_done(work: Path, name: str) -> float:
    """How far earlier parts of this training have come: seconds of its schedule."""
    path = work / "progress.json"
    return json.loads(path.read_text()).get(name, 0.0) if path.exists() else 0.0


def note_seconds(work: Path, name: str, seconds: float) -> None:
    """Write down how far this training has come, for the next part."""
    if RANK > 0:
        return
    path = work / "progress.json"
    table = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps({**table, name: seconds}))
