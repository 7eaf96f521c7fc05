"""Which of a job's steps are computed when velocities are reused: see `reuse` beside it."""

_SETTLED = 0.3  # of the steps; after them one guidance difference serves two computed steps
_GUARDED = 0.2  # of the steps; in these the picture takes shape, and all are computed
_STEPS_A_STRIDE = 24  # every second of 24 steps is computed, every third of 48
_LONGEST_STRIDE = 3


def computed_steps(steps: int) -> list[int]:
    """Which of a job's steps run the transformer; the last one always does."""
    stride = min(_LONGEST_STRIDE, 1 + steps // _STEPS_A_STRIDE)
    guarded = round(_GUARDED * steps)
    return [
        step
        for step in range(steps)
        if step < guarded or step == steps - 1 or (step - guarded) % stride == 0
    ]


def guided_steps(steps: int) -> list[int]:
    """Which of the computed steps run it without the prompt as well."""
    computed = computed_steps(steps)
    return [
        step
        for index, step in enumerate(computed)
        if step < _SETTLED * steps or index % 2 == 0 or step == steps - 1
    ]


def forwards(steps: int, guided: bool) -> int:  # noqa: FBT001 - the shape of `Effect.forwards`
    """Runs of the transformer for one segment."""
    return len(computed_steps(steps)) + guided * len(guided_steps(steps))
