"""The card: what fits it, layers that are streamed through it, its errors as ours."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from diffusers.hooks import apply_group_offloading

from onetake.models.spec import ModelSpec
from onetake.runtime.errors import DeviceError
from onetake.runtime.units import GIB


def stream(module: torch.nn.Module, device: torch.device) -> None:
    """Keep a module on the host and bring each layer onto the card when its turn comes."""
    module.to("cpu")
    apply_group_offloading(
        module, device, offload_type="leaf_level", use_stream=device.type == "cuda"
    )


def fits(spec: ModelSpec, weights_gib: float) -> bool:
    """Whether weights of this size and the memory to work in are free on the card."""
    device = torch.cuda.current_device()
    free, total = torch.cuda.mem_get_info(device)
    limit = torch.cuda.get_per_process_memory_fraction(device) * total
    needed = weights_gib + max(spec.memory.denoise_gib, spec.memory.decode_gib)
    return needed * GIB < min(free, limit)


@contextmanager
def device_errors() -> Iterator[None]:
    """Torch's errors of the card as a `DeviceError`."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise DeviceError(
            "out_of_memory",
            "the card has too little memory for this job; ask for fewer frames or a smaller model",
            detail=str(error),
        ) from error
    except torch.AcceleratorError as error:
        raise DeviceError(
            "device_lost", "the card stopped answering; send the job again", detail=str(error)
        ) from error
