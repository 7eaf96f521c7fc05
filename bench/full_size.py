"""Full-size models from their configs, with random weights: for speed and memory, never quality.

The configs are those of the published checkpoints, which this repository does not hold.
"""

import json
from pathlib import Path

import torch
from diffusers import (
    AutoencoderKLWan,
    UniPCMultistepScheduler,
    WanPipeline,
    WanTransformer3DModel,
)
from transformers import AutoTokenizer, UMT5Config, UMT5EncoderModel

from onetake.models.weights.places import embedded_weights

CONFIGS = Path(__file__).parent / "configs"
EXPERTS = {"wan2.2-t2v-a14b": 0.875}  # models of two, and the noise level between them


def build(name: str, layers: int | None = None) -> WanPipeline:
    """The pipeline of ``bench/configs/<name>`` in bf16 on the host; the tokenizer is the tiny one.

    Random values are drawn on the GPU, which takes seconds instead of minutes. ``layers`` leaves
    out the other blocks of the transformer, for trials.
    """
    folder = CONFIGS / name
    parts = {
        part: json.loads((folder / f"{part}.json").read_text())
        for part in ("transformer", "vae", "text_encoder")
    }
    if layers:
        parts["transformer"]["num_layers"] = layers
    vae_config = parts["vae"]
    channels = vae_config["z_dim"]
    vae_config |= {"latents_mean": [0.0] * channels, "latents_std": [1.0] * channels}
    default = torch.get_default_dtype()
    torch.set_default_dtype(torch.bfloat16)
    try:
        with torch.device("cuda" if torch.cuda.is_available() else "cpu"):
            text_encoder = UMT5EncoderModel(UMT5Config(**parts["text_encoder"])).cpu()
            transformers = [
                WanTransformer3DModel.from_config(parts["transformer"]).cpu().eval()
                for _ in range(2 if name in EXPERTS else 1)
            ]
            vae = AutoencoderKLWan.from_config(vae_config).cpu()
    finally:
        torch.set_default_dtype(default)
    tiny = embedded_weights()
    return WanPipeline(
        tokenizer=AutoTokenizer.from_pretrained(tiny / "tokenizer"),
        text_encoder=text_encoder.eval(),
        transformer=transformers[0],
        transformer_2=transformers[1] if transformers[1:] else None,
        boundary_ratio=EXPERTS.get(name),
        vae=vae.eval(),
        scheduler=UniPCMultistepScheduler.from_pretrained(tiny / "scheduler"),
        expand_timesteps=parts["vae"]["z_dim"] == 48,  # noqa: PLR2004 - Wan 2.2's own VAE
    )
