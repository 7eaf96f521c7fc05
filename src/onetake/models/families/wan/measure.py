"""Seconds and memory of one segment, by Onetake and by stock diffusers: what `onetake bench` asks.

Stock is what a user of diffusers writes for a 24 GB card: `WanPipeline` in bf16 with its VAE in
float32, parts moved to the card in turn and the decode tiled where the whole does not fit.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKLWan, UniPCMultistepScheduler, WanPipeline
from torch.profiler import profile, record_function

from onetake.models.families.wan.model import GIB, stock_arguments
from onetake.models.spec import DenoiseRequest, ModelSpec, VideoModel

Figures = dict[str, float | None]


def measure(model: VideoModel, request: DenoiseRequest) -> Figures:
    """Seconds of denoising (text included) and of decoding, and the card's peak in GiB.

    Prompts are forgotten first: what is measured is a job with new ones.
    """
    model.forget_prompts()
    with _measured() as figures:
        with _timed(figures, "denoise"):
            latents = model.denoise(request, lambda _step: None)
        with _timed(figures, "decode"):
            for _batch in model.decode(latents):
                pass
    return figures


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
        # The VAE's weights and activations take twice the room in float32.
        needed = spec.weights_gib + spec.vae_gib + max(spec.denoise_gib, 2 * spec.decode_gib)
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
        with _measured() as figures, torch.no_grad():
            with _timed(figures, "denoise"):
                latents = pipeline(
                    prompt=request.prompt,
                    negative_prompt=request.negative_prompt,
                    **stock_arguments(spec, request),
                )[0]
            with _timed(figures, "decode"):
                scaled = latents.float() * std.to(latents.device) + mean.to(latents.device)
                video = vae.decode(scaled, return_dict=False)[0]
                pipeline.video_processor.postprocess_video(video, output_type="np")
        return figures

    return run


@contextmanager
def _measured() -> Iterator[Figures]:
    """The figures, with the peak at the end."""
    figures: Figures = {}
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    yield figures
    figures["total"] = sum(seconds or 0.0 for seconds in figures.values())
    figures["peak_gib"] = (
        torch.cuda.max_memory_reserved() / GIB if torch.cuda.is_available() else None
    )


@contextmanager
def _timed(figures: Figures, stage: str) -> Iterator[None]:
    """Seconds until the card has done what was asked inside; a range of that name in traces."""
    card = torch.cuda.is_available()
    started = time.perf_counter()
    with record_function(stage), torch.cuda.nvtx.range(stage) if card else nullcontext():
        yield
        if card:
            torch.cuda.synchronize()
    figures[stage] = time.perf_counter() - started


def trace(run: Callable[[], object], file: Path) -> None:
    """What runs inside, operation by operation, in Chrome's trace format (ui.perfetto.dev)."""
    with profile() as recorded:
        run()
    recorded.export_chrome_trace(str(file))
