"""handler.py with faults that a prompt can ask for, raised where a card or an encoder would.

| word in the prompt | fault |
|---|---|
| OOMONCE | the card runs out of memory, until the worker goes on in less of it |
| OOMALWAYS | the card runs out of memory, whatever the worker does |
| CARDLOST | the card stops answering |
| NOENCODER | ffmpeg is killed in the middle |
| CRASH | an error that nobody foresaw, with a path in its text |
"""

import os
import runpy
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from onetake.models.families.wan import model as wan

HANDLER = Path(__file__).parents[2] / "handler.py"
denoise, decode = wan.WanModel.denoise, wan.WanModel.decode
prompt = ""


def faulty_denoise(self: wan.WanModel, request: Any, on_step: Callable[[int], None]) -> Any:
    """The model's own, with the fault after its first step."""
    global prompt  # noqa: PLW0603 - one job at a time
    prompt = request.prompt

    def after_step(step: int) -> None:
        on_step(step)
        if "OOMALWAYS" in prompt or ("OOMONCE" in prompt and "tiled" not in self.placement):
            raise torch.OutOfMemoryError("CUDA out of memory in /root/secret")
        if "CARDLOST" in prompt:
            raise torch.AcceleratorError("CUDA error: unspecified launch failure", 719)
        if "CRASH" in prompt:
            raise RuntimeError("/root/secret/path")

    return denoise(self, request, after_step)


def faulty_decode(self: wan.WanModel, latents: Any) -> Iterator[Any]:
    """The model's own; an encoder may die beside it."""
    for batch in decode(self, latents):
        yield batch
        if "NOENCODER" in prompt:
            for child in children():
                if "ffmpeg" in Path(f"/proc/{child}/cmdline").read_text():
                    os.kill(child, signal.SIGKILL)


def children() -> list[int]:
    """The processes that this one has started."""
    tasks = Path("/proc/self/task").glob("*/children")
    return [int(pid) for task in tasks for pid in task.read_text().split()]


wan.WanModel.denoise = faulty_denoise
wan.WanModel.decode = faulty_decode
sys.argv[0] = str(HANDLER)
runpy.run_path(str(HANDLER), run_name="__main__")
