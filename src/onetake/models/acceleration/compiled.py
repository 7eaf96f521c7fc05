"""Compiled blocks: pointwise work is fused, and 8-bit numbers are made where they are read.

One graph serves all blocks of a transformer, since only their weights differ; code outside of the
blocks is not compiled. Of the decoder, the code between its convolutions is compiled: one graph of
all of it would take half as much memory again (docs/LOG.md).
"""

import importlib
import os
import shutil
from importlib.util import find_spec
from pathlib import Path

import torch

from onetake.models.acceleration import Effect
from onetake.models.spec import TunableModel

_RECOMPILATIONS = 32  # sizes and lengths of jobs; after torch's default, 8, nothing is compiled

EFFECT = Effect()


def apply(model: TunableModel) -> str:
    """Have the blocks and the decoder compiled when they first run."""
    reason = refusal(model)
    if reason:
        return f"not compiled: {reason}"
    torch._dynamo.config.recompile_limit = _RECOMPILATIONS  # noqa: SLF001 - its documented place
    for transformer in model.transformers:
        for block in transformer.blocks:
            block.compile(fullgraph=True)
    model.decoder.compile()
    return "the transformer's blocks, and what lies between the decoder's convolutions"


def can_compile() -> bool:
    """Whether there is a C compiler for Triton, or the image's built file, which it then uses."""
    if any(map(shutil.which, (os.environ.get("CC", ""), "gcc", "clang"))):
        return True
    triton = find_spec("triton")
    home = Path(triton.origin).parent if triton and triton.origin else Path("/nonexistent")
    built = next((home / "backends" / "nvidia").glob("cuda_utils.*.so"), None)
    if built is None:
        return False
    importlib.import_module("triton.knobs").build.impl = lambda *_: str(built)
    return True


def refusal(model: TunableModel) -> str:
    """Why blocks cannot be compiled here; empty if they can."""
    if not torch.cuda.is_available():
        return "there is no GPU"
    if model.placement.startswith("streamed"):
        return "its weights go through the card"
    if not can_compile():
        return "Triton finds no C compiler"
    return ""
