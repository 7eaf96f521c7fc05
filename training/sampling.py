"""Solving the flow: the scheduler's noise levels, and a two-step Adams-Bashforth solver."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Callable

FLOW_SHIFT = 3.0


def schedule(steps: int) -> Tensor:
    """Noise levels [steps + 1] from nearly 1 to 0, as UniPC makes them from flow_shift.

    Those of 4 steps are every fourth of those of 16, which distillation relies on.
    """
    even = torch.linspace(0.999, 0.0, steps + 1)
    return FLOW_SHIFT * even / (1 + (FLOW_SHIFT - 1) * even)


@torch.no_grad()
def integrate(
    velocity: Callable[[Tensor, Tensor], Tensor], x: Tensor, clean: Tensor, sigmas: Tensor
) -> list[Tensor]:
    """Follow the velocity from sigmas[0] to sigmas[-1]; returns the state at each of them.

    x [B, 48, T, h, w] holds clean latents where clean (bool [B, T]) says so; they never change.
    """
    moving = ~clean[:, None, :, None, None]
    states, before, last = [x], None, 0.0
    for sigma, following in zip(sigmas[:-1].tolist(), sigmas[1:].tolist(), strict=True):
        step = following - sigma
        now = velocity(x, torch.full((len(x),), sigma, device=x.device))
        slope = now if before is None else now + step / (2 * last) * (now - before)
        x = x + step * slope * moving
        before, last = now, step
        states.append(x)
    return states
