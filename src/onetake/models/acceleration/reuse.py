"""Skip forwards whose result can be predicted well enough.

Neighbouring steps have nearly the same velocity, and the difference that guidance makes changes
even more slowly. So in the middle of many steps only every second or third one is computed;
between them the velocity is extrapolated in a straight line over the noise level. The forward
without the prompt is run at every computed step while the picture takes shape, later at every
second one; otherwise the last difference is used again.

After EasyCache (Zhou et al. 2025, arXiv:2507.02860) and FasterCache (Lv et al. 2024,
arXiv:2410.19355), but on a fixed plan: a job's cost is known before it runs. None of this code is
compiled, and no block is changed.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import MethodType
from typing import Any

from torch import Tensor

from onetake.models.acceleration import Effect
from onetake.models.acceleration.schedule import computed_steps, forwards, guided_steps
from onetake.models.spec import TunableModel

EFFECT = Effect(forwards=forwards)


def apply(model: TunableModel) -> str:
    """Run the transformers only at the steps of `computed_steps` and `guided_steps`."""
    for transformer in model.transformers:
        _reuse(transformer, model)
    steps = model.spec.sampling.num_inference_steps
    run = len(computed_steps(steps)) + len(guided_steps(steps))
    return f"{run} of {2 * steps} forwards are run for {steps} steps"


def _reuse(transformer: Any, model: TunableModel) -> None:
    """Change a transformer in place; each of two experts has its own past velocities."""
    kept = _Kept()
    stock: Callable[..., Any] = transformer.forward

    @contextmanager
    def cache_context(branch: str, **_step: object) -> Iterator[None]:
        # The text pipeline also passes the step and its noise here, the image pipeline does not.
        scheduler = model.pipeline.scheduler
        step = scheduler.step_index or 0
        kept.start(branch, step, float(scheduler.sigmas[step]), len(scheduler.timesteps))
        yield

    def forward(_transformer: Any, *args: Any, **kwargs: Any) -> tuple[Tensor]:
        return (kept.velocity(lambda: stock(*args, **kwargs)[0]),)

    # The pipelines open this context around each forward; its name says which one it is.
    transformer.cache_context = cache_context
    transformer.forward = MethodType(forward, transformer)


class _Kept:
    """The last velocities with the prompt, and the last difference that the prompt made."""

    _step = -2

    def start(self, branch: str, step: int, sigma: float, steps: int) -> None:
        # Steps come in order, but a second expert's first step is not number 0.
        if branch == "cond" and step != self._step + 1:
            self._past: list[tuple[float, Tensor]] = []
            self._difference: Tensor | None = None
            self._computed, self._guided = set(computed_steps(steps)), set(guided_steps(steps))
        self._branch, self._step, self._sigma = branch, step, sigma

    def velocity(self, compute: Callable[[], Tensor]) -> Tensor:
        if self._branch == "cond":
            if self._step in self._computed or len(self._past) < 2:  # noqa: PLR2004 - a line's ends
                self._past = [*self._past[-1:], (self._sigma, compute().float())]
                self._now = self._past[-1][1]
            else:
                (before, first), (after, second) = self._past
                further = (self._sigma - after) / (after - before)
                self._now = second + further * (second - first)
            return self._now
        if self._step in self._guided or self._difference is None:
            without = compute().float()
            self._difference = self._now - without
            return without
        return self._now - self._difference
