"""The sampler of models that were distilled to a few noise levels.

At each level the model predicts the clean clip; fresh noise takes it to the next level (DMD2,
Yin et al. 2024, arXiv:2405.14867).
"""

from collections.abc import Sequence
from typing import Any

import torch
from diffusers import FlowMatchEulerDiscreteScheduler
from torch import Tensor


class FewStepScheduler(FlowMatchEulerDiscreteScheduler):  # type: ignore[misc]  # untyped
    """Diffusers' sampler with fresh noise, at fixed levels and with the job's own generator."""

    def __init__(self, levels: Sequence[float], noise: torch.Generator) -> None:
        super().__init__(stochastic_sampling=True)
        self._levels, self._noise = list(levels), noise

    def set_timesteps(self, num_inference_steps: int, device: Any = None, **_: Any) -> None:
        """Set the levels; a plan always has one step for each."""
        super().set_timesteps(num_inference_steps, device, sigmas=self._levels)

    def step(self, model_output: Tensor, timestep: Tensor, sample: Tensor, **kwargs: Any) -> Any:
        """See diffusers; here in float32, with noise from our generator."""
        return super().step(model_output.float(), timestep, sample, generator=self._noise, **kwargs)
