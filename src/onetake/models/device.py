"""The GPU as torch sees it; each function imports torch itself, when it is called."""

import gc
from functools import cache

from onetake.runtime.units import GIB


@cache
def card_name() -> str | None:
    """The name of the GPU, or None."""
    import torch  # noqa: PLC0415 - takes seconds; schema, plan errors and tables need none

    return torch.cuda.get_device_name(0) if torch.cuda.is_available() else None


def card_gib() -> float:
    """Memory of the GPU that this process may use, in GiB; without one, enough for anything."""
    if card_name() is None:
        return float("inf")
    import torch  # noqa: PLC0415 - see card_name

    share = torch.cuda.get_per_process_memory_fraction()
    return float(share * torch.cuda.get_device_properties(0).total_memory / GIB)


def card_steady_gib() -> float | None:
    """What stays on the GPU between jobs, in GiB: weights, encoded prompts; None without one."""
    if card_name() is None:
        return None
    import torch  # noqa: PLC0415 - see card_name

    return float(torch.cuda.memory_allocated(0) / GIB)


def free() -> None:
    """Free the memory of dropped pipelines, which hold themselves in reference cycles."""
    import torch  # noqa: PLC0415 - see card_name

    gc.unfreeze()
    gc.collect()
    gc.freeze()  # see loader.load
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
