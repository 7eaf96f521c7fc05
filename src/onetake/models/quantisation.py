"""Numbers in 8 bits, each group by its largest value (symmetric, without a zero point).

The scheme of LLM.int8() (Dettmers et al. 2022, arXiv:2208.07339) without its outlier path, and for
e4m3 of Micikevicius et al. 2022, arXiv:2209.05433.
"""

import torch
from torch import Tensor

LARGEST = {torch.int8: 127.0, torch.float8_e4m3fn: 448.0}
_LEAST = 1e-12  # of a group's largest value: zeros have a scale too


def quantise(
    values: Tensor,
    dtype: torch.dtype,
    dim: int | tuple[int, ...],
    scale_dtype: torch.dtype = torch.float32,
) -> tuple[Tensor, Tensor]:
    """``values`` as levels of ``dtype``, and the scale that gives them back.

    Args:
        values: any shape.
        dtype: int8 or float8_e4m3fn.
        dim: the dimensions that share a scale; they have length 1 in the scale.
        scale_dtype: levels are divided by the scale as it is stored.
    """
    largest = LARGEST[dtype]
    values = values.float()
    scale = values.abs().amax(dim=dim, keepdim=True).clamp_min(_LEAST) / largest
    scale = scale.to(scale_dtype)
    levels = (values / scale.float()).clamp(-largest, largest)
    return (levels.round() if dtype == torch.int8 else levels).to(dtype), scale
