"""Quantisation to 8 bits: each group of values has one scale (symmetric, without a zero point).

The scale comes from the group's largest value, as in LLM.int8() (Dettmers et al. 2022,
arXiv:2208.07339), here without its outlier path. The format e4m3 is that of Micikevicius et al.
2022, arXiv:2209.05433.
"""

import torch
from torch import Tensor

LARGEST = {torch.int8: 127.0, torch.float8_e4m3fn: 448.0}
_LEAST = 1e-12  # stands in for a smaller largest value, so that zeros have a scale too


def quantise(
    values: Tensor,
    dtype: torch.dtype,
    dim: int | tuple[int, ...],
    scale_dtype: torch.dtype = torch.float32,
) -> tuple[Tensor, Tensor]:
    """Levels of ``dtype`` and their scale; levels times scale are about ``values`` again.

    Args:
        values: any shape.
        dtype: int8 or float8_e4m3fn.
        dim: the dimensions that share a scale; they have length 1 in the scale.
        scale_dtype: the dtype of the scale; values are divided by the scale in this dtype.
    """
    largest = LARGEST[dtype]
    values = values.float()
    scale = values.abs().amax(dim=dim, keepdim=True).clamp_min(_LEAST) / largest
    scale = scale.to(scale_dtype)
    levels = (values / scale.float()).clamp(-largest, largest)
    return (levels.round() if dtype == torch.int8 else levels).to(dtype), scale
