"""Frames compared, and frames of a model."""

from dataclasses import replace

import numpy as np

from onetake.models.spec import DenoiseRequest, VideoModel


def psnr(one: np.ndarray, other: np.ndarray) -> float:
    """Peak signal-to-noise ratio of uint8 frames, dB."""
    error = np.mean((one.astype(float) - other) ** 2)
    return float(10 * np.log10(255**2 / max(error, 1e-9)))


REQUEST = DenoiseRequest(
    prompt="a red bottle on a white background", negative_prompt="", width=128, height=128,
    num_frames=17, num_inference_steps=6, guidance_scale=3.5, flow_shift=3.0, seed=3,
)  # fmt: skip


def frames(model: VideoModel, seed: int = 3) -> np.ndarray:
    """What a model makes of REQUEST."""
    request = replace(REQUEST, seed=seed)
    return np.concatenate(list(model.decode(model.denoise(request, lambda _step: None))))
