"""Operations of decoding one full segment, counted by torch on meta tensors: `vae_tflop`.

python -m bench.count_operations          # seconds; no weights, no GPU
"""

import json

import torch
from diffusers import AutoencoderKLWan
from torch.utils.flop_counter import FlopCounterMode

from bench.full_size import CONFIGS
from onetake.models.catalogue import MODELS
from onetake.models.spec import ModelSpec
from onetake.models.weights.places import embedded_weights

VAE_CONFIGS = {
    "wan2.2-ti2v-5b": CONFIGS / "wan2.2-ti2v-5b" / "vae.json",
    "wan2.1-t2v-1.3b": None,  # diffusers' defaults are its VAE
    "tiny": embedded_weights() / "vae" / "config.json",
}


def decode_tflop(spec: ModelSpec) -> float:
    """Multiplications and additions of decoding `max_frames` at `sizes[0]`, in units of 1e12."""
    path = VAE_CONFIGS[spec.name]
    with torch.device("meta"):
        vae = AutoencoderKLWan.from_config(json.loads(path.read_text()) if path else {})
        scale = vae.config.scale_factor_spatial
        width, height = spec.segment.sizes[0]
        latent_frames = (spec.segment.max_frames - 1) // spec.segment.frame_step + 1
        shape = (1, vae.config.z_dim, latent_frames, height // scale, width // scale)
        latents = torch.empty(shape)
    with torch.no_grad(), FlopCounterMode(display=False) as counted:
        vae.decode(latents)
    return counted.get_total_flops() / 1e12


if __name__ == "__main__":
    for name in VAE_CONFIGS:  # the other rows share one of these
        print(f"{name}: {decode_tflop(MODELS[name]):.4g} TFLOP")
