"""Stock diffusers, measured beside our way to run a model.

Stock is what a user of diffusers writes for a 24 GB card: `WanPipeline` in bf16 with its VAE in
float32, parts moved to the card in turn and the decode tiled where the whole does not fit.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKLWan, UniPCMultistepScheduler, WanPipeline

from onetake.models.families import Figures
from onetake.models.families.wan.model import stock_arguments
from onetake.models.measure import measured, timed
from onetake.models.spec import DenoiseRequest, ModelSpec
from onetake.runtime.units import GIB


def load_stock(spec: ModelSpec, weights: Path) -> Callable[[DenoiseRequest], Figures]:
    """Stock diffusers with the weights of a folder; see `stock_runner`."""
    vae = AutoencoderKLWan.from_pretrained(
        weights, subfolder="vae", dtype=torch.float32, local_files_only=True
    )
    pipeline: Any = WanPipeline.from_pretrained(
        weights, vae=vae, dtype=torch.bfloat16, local_files_only=True
    )
    return stock_runner(spec, pipeline)


def stock_runner(spec: ModelSpec, pipeline: Any) -> Callable[[DenoiseRequest], Figures]:
    """A stock pipeline, its VAE in float32, ready to be measured as `measure` does."""
    vae = pipeline.vae
    pipeline.set_progress_bar_config(disable=True)
    if torch.cuda.is_available():
        free = torch.cuda.mem_get_info()[0]
        share = torch.cuda.get_per_process_memory_fraction()
        total = share * torch.cuda.get_device_properties(0).total_memory
        # The VAE's weights and activations take twice the memory in float32.
        needed = (
            spec.memory.weights_gib
            + spec.memory.vae_gib
            + max(spec.memory.denoise_gib, 2 * spec.memory.decode_gib)
        )
        if needed * GIB < min(free, total):
            pipeline.to("cuda")
        else:
            pipeline.enable_model_cpu_offload()
            vae.enable_tiling()

    def run(request: DenoiseRequest) -> Figures:
        pipeline.scheduler = UniPCMultistepScheduler.from_config(
            pipeline.scheduler.config, flow_shift=request.flow_shift
        )
        mean, std = (
            torch.tensor(values).view(1, -1, 1, 1, 1)
            for values in (vae.config.latents_mean, vae.config.latents_std)
        )
        with measured() as figures, torch.no_grad():
            with timed(figures, "denoise"):
                latents = pipeline(
                    prompt=request.prompt,
                    negative_prompt=request.negative_prompt,
                    **stock_arguments(spec, request),
                )[0]
            with timed(figures, "decode"):
                scaled = latents.float() * std.to(latents.device) + mean.to(latents.device)
                video = vae.decode(scaled, return_dict=False)[0]
                pipeline.video_processor.postprocess_video(video, output_type="np")
        return figures

    return run
