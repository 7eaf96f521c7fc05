"""Compiled blocks: pointwise work is fused, and 8-bit numbers are made where they are read.

One graph serves all blocks of a transformer, since they differ in their weights alone; what is
outside of them stays as it is. Of the decoder what lies between its convolutions is compiled: one
graph of it all would take half as much memory again (docs/LOG.md).
"""

import os
import shutil

import torch

from onetake.spec import VideoModel

_RECOMPILATIONS = 32  # sizes and lengths of jobs; torch's own 8 would fall back to none at all


def apply(model: VideoModel) -> str:
    """Have them compiled when they first run."""
    refusal = _refusal(model)
    if refusal:
        return f"not compiled: {refusal}"
    torch._dynamo.config.recompile_limit = _RECOMPILATIONS  # noqa: SLF001 - its documented place
    for block in model.pipeline.transformer.blocks:
        block.compile(fullgraph=True)
    model.decoder.compile()
    return "the transformer's blocks, and what lies between the decoder's convolutions"


def _refusal(model: VideoModel) -> str:
    if not torch.cuda.is_available():
        return "there is no GPU"
    if model.placement.startswith("streamed"):
        return "its weights go through the card"
    if not any(map(shutil.which, (os.environ.get("CC", ""), "gcc", "clang", "cc"))):
        return "there is no C compiler, which Triton needs"
    return ""
