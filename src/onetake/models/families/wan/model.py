"""The Wan family on diffusers' own pipelines: text, image, or the frames of an earlier segment.

Denoising is the stock `WanPipeline` (text) and `WanImageToVideoPipeline` (context). What is ours:
any 4j+1 frames of context instead of one image, and a decoder that gives each latent's frames as
soon as they are ready. Both equal the stock code, as tests/models/test_wan.py checks.

Not covered: image-to-video models that read their image in other ways (Wan 2.1, A14B).
"""

from collections import OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from diffusers import UniPCMultistepScheduler, WanPipeline
from diffusers.models.transformers.transformer_wan import WanAttnProcessor
from PIL import Image
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from onetake.media.frames import FrameBatch
from onetake.models.families.wan.card import device_errors, fits, stream
from onetake.models.families.wan.context import ContextPipeline, latent_statistics
from onetake.models.families.wan.decoder import StreamingDecoder
from onetake.models.families.wan.few_steps import FewStepScheduler
from onetake.models.families.wan.loading import load_pipeline
from onetake.models.placement import RESIDENT, STREAMED, TEXT_STREAMED
from onetake.models.spec import DenoiseRequest, ModelSpec
from onetake.models.weights.manifest import is_int8
from onetake.runtime.units import GIB

_EMBEDDINGS = 32  # prompts remembered, 4 MB each
_TILE_LATENTS = 16  # latents that 256 px take


class WanModel:
    """A loaded Wan model; latents are (1, z, f, h, w) float32 tensors on the device."""

    def __init__(
        self, spec: ModelSpec, pipeline: Any, revision: str, device: torch.device, placement: str,
        streamed: tuple[torch.nn.Module, ...] = (),
    ) -> None:  # fmt: skip
        self.spec = spec
        self.revision = revision
        self.placement = placement
        self._device = device
        self._tiled = False
        self._to_stream = streamed
        self.pipeline = pipeline
        self.transformers = _transformers(pipeline)
        self.decoder = StreamingDecoder(pipeline.vae)
        self._context = ContextPipeline(**pipeline.components, expand_timesteps=True)
        for stock in (self.pipeline, self._context):
            stock.set_progress_bar_config(disable=True)
        self._embeddings: OrderedDict[str, torch.Tensor] = OrderedDict()

    def _begin_to_stream(self) -> None:
        """Call it once the model is tuned: a technique that changes a forward would undo it."""
        waiting, self._to_stream = self._to_stream, ()
        for module in waiting:
            stream(module, self._device)

    def denoise(self, request: DenoiseRequest, on_step: Callable[[int], None]) -> torch.Tensor:
        """See `VideoModel.denoise`."""
        self._begin_to_stream()
        stock = stock_arguments(self.spec, request)
        scheduler: Any = UniPCMultistepScheduler.from_config(
            self.pipeline.scheduler.config, flow_shift=request.flow_shift
        )
        if self.spec.sampling.sigmas:
            scheduler = FewStepScheduler(self.spec.sampling.sigmas, stock["generator"])

        def after_step(_pipeline: Any, step: int, _timestep: Any, kwargs: Any) -> Any:
            on_step(step)
            return kwargs

        inputs: dict[str, Any] = {}
        pipeline = self.pipeline
        if request.context is not None:
            pipeline = self._context
            pipeline.context = _pixels(request.context)
            pipeline.context_noise = request.context_noise
            if request.last_frame is not None:
                pipeline.last_frame = _pixels(request.last_frame)
            inputs["image"] = Image.fromarray(request.context[0])
        # A scheduler remembers its steps, so each segment gets a new one.
        self.pipeline.scheduler = self._context.scheduler = scheduler
        with torch.no_grad(), device_errors():
            if request.guidance_scale > 1:
                inputs["negative_prompt_embeds"] = self._embed(request.negative_prompt)
            latents: torch.Tensor = pipeline(
                **inputs,
                prompt_embeds=self._embed(request.prompt),
                **stock,
                callback_on_step_end=after_step,
            )[0]
            if self._device.type == "cuda":
                torch.cuda.synchronize(self._device)  # else decoding would be timed with this
        return latents

    def _embed(self, prompt: str) -> torch.Tensor:
        """The text encoder's output (1, tokens, width), remembered: jobs repeat their prompts."""
        if prompt not in self._embeddings:
            self._embeddings[prompt] = self.pipeline.encode_prompt(
                prompt,
                do_classifier_free_guidance=False,
                max_sequence_length=self.spec.sampling.max_sequence_length,
                device=self._device,
            )[0]
        self._embeddings.move_to_end(prompt)
        if len(self._embeddings) > _EMBEDDINGS:
            self._embeddings.popitem(last=False)
        return self._embeddings[prompt]

    def lean(self) -> bool:
        """See `VideoModel.lean`: first weights are streamed, then decoding is tiled."""
        self._begin_to_stream()
        if self.placement in {RESIDENT, TEXT_STREAMED}:
            if self.placement == RESIDENT:
                stream(self.pipeline.text_encoder, self._device)
            for transformer in self.transformers:
                for block in transformer.blocks:
                    block._compiled_call_impl = None  # noqa: SLF001 - no graph reads streamed weights
                    block.attn1.set_processor(WanAttnProcessor())  # uncompiled 8 bits take more
                stream(transformer, self._device)
            if self._device.type == "cuda":
                torch.cuda.empty_cache()  # of the weights that were on the card
            self.placement = STREAMED
        elif not self._tiled:
            self._tiled = True
            self.placement += ", tiled decode"
        else:
            return False
        return True

    def decode(self, latents: torch.Tensor) -> Iterator[FrameBatch]:
        """See `VideoModel.decode`; each latent passes on the causal cache, as in the stock code."""
        return self._decode_tiles(latents) if self._tiled else self._decode_whole(latents)

    def _decode_tiles(self, latents: torch.Tensor) -> Iterator[FrameBatch]:
        """Decode in stock tiles, all frames at once: least memory of the card, more of the host."""
        vae = self.pipeline.vae
        mean, std = latent_statistics(vae, latents.device)
        # The stock's 256 px with strides of 192, or 64 px if the picture is no larger than that.
        side = 256 if min(latents.shape[-2:]) > _TILE_LATENTS else 64
        vae.enable_tiling(side, side, side * 3 // 4, side * 3 // 4)
        try:
            with torch.no_grad(), device_errors():
                decoded = vae.decode((latents * std + mean).to(self._device, vae.dtype)).sample
                decoded = decoded.cpu()
        finally:
            vae.disable_tiling()
            vae.clear_cache()
        first, rest = decoded[:, :, :1], decoded[:, :, 1:]
        for batch in (first, *rest.split(self.spec.segment.frame_step, dim=2)):
            yield _frames(batch)

    def _decode_whole(self, latents: torch.Tensor) -> Iterator[FrameBatch]:
        vae = self.pipeline.vae
        mean, std = latent_statistics(vae, latents.device)
        decoded = self.decoder.frames((latents * std + mean).to(self._device, vae.dtype))
        while True:
            with torch.no_grad(), device_errors():
                batch = next(decoded, None)
                if batch is None:
                    return
                frames = _frames(batch)
            yield frames

    def save_latents(self, latents: torch.Tensor, file: Path) -> None:
        """See `VideoModel.save_latents`."""
        try:
            save_file({"latents": latents.cpu()}, file)
        except SafetensorError as error:
            raise OSError(str(error)) from error

    def load_latents(self, file: Path) -> torch.Tensor:
        """See `VideoModel.load_latents`."""
        try:
            latents: torch.Tensor = load_file(file, device=str(self._device))["latents"]
        except SafetensorError as error:
            raise OSError(str(error)) from error
        return latents

    def forget_prompts(self) -> None:
        """See `VideoModel.forget_prompts`."""
        self._embeddings.clear()

    def count_tokens(self, prompt: str) -> int:
        """See `VideoModel.count_tokens`."""
        return len(self.pipeline.tokenizer(prompt).input_ids)

    def reset_peak(self) -> None:
        """See `VideoModel.reset_peak`."""
        if self._device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self._device)

    def peak_gib(self) -> float | None:
        """See `VideoModel.peak_gib`."""
        if self._device.type != "cuda":
            return None
        return torch.cuda.max_memory_reserved(self._device) / GIB


def stock_arguments(spec: ModelSpec, request: DenoiseRequest) -> dict[str, Any]:
    """The arguments of diffusers' pipelines for a request, without its text and its context."""
    experts = {}
    if spec.sampling.expert_guidance is not None:  # a job's own scale is for both experts
        own = request.guidance_scale == spec.sampling.guidance_scale
        experts["guidance_scale_2"] = (
            spec.sampling.expert_guidance if own else request.guidance_scale
        )
    return experts | {
        "width": request.width,
        "height": request.height,
        "num_frames": request.num_frames,
        "num_inference_steps": request.num_inference_steps,
        "guidance_scale": request.guidance_scale,
        # Noise is drawn on the CPU, so that a seed means the same on every card.
        "generator": torch.Generator().manual_seed(request.seed),
        "max_sequence_length": spec.sampling.max_sequence_length,
        "output_type": "latent",
        "return_dict": False,
    }


def load(spec: ModelSpec, folders: tuple[Path, ...], revision: str) -> WanModel:
    """Load the first of ``folders`` in bf16, or in 8 bits if it holds those; see `load_pipeline`.

    It goes onto the GPU if there is one and all of it fits, else onto the host first.

    Raises:
        DeviceError: it does not fit.
    """
    files = [file for folder in folders for file in folder.rglob("*.safetensors")]
    stored = sum(file.stat().st_size for file in files) / GIB
    needed = stored if is_int8(folders[0]) else min(stored, spec.memory.weights_gib)
    device = torch.device("cpu")
    if torch.cuda.is_available() and fits(spec, needed):
        device = torch.device("cuda", torch.cuda.current_device())
    with device_errors():
        pipeline = load_pipeline(folders[0], device, *folders[1:])
    return place(spec, pipeline, revision)


def place(spec: ModelSpec, pipeline: WanPipeline, revision: str) -> WanModel:
    """A model out of ``pipeline``: on the CPU without a card, else on it as far as it fits.

    If all fits beside the working memory, it is resident. Else the text encoder stays on the host,
    in pinned memory, and is streamed through the card, each layer while the one before it computes.
    If that is not enough, so is the transformer.

    Raises:
        DeviceError: even that does not fit.
    """
    if not torch.cuda.is_available():
        return WanModel(spec, pipeline, revision, torch.device("cpu"), "cpu")
    device = torch.device("cuda", torch.cuda.current_device())
    experts = _transformers(pipeline)
    parts = (*experts, pipeline.vae, pipeline.text_encoder)
    weights = [sum(p.nbytes for p in part.parameters()) / GIB for part in parts]
    on_card = pipeline.transformer.device.type == "cuda"
    with device_errors():
        if on_card or fits(spec, sum(weights)):
            pipeline.to(device)
            return WanModel(spec, pipeline, revision, device, RESIDENT)
        experts_fit = fits(spec, sum(weights[:-1]))
        streamed = (pipeline.text_encoder, *(() if experts_fit else experts))
        for part in parts:
            if part not in streamed:
                part.to(device)
        placement = TEXT_STREAMED if experts_fit else STREAMED
        return WanModel(spec, pipeline, revision, device, placement, streamed)


def _transformers(pipeline: WanPipeline) -> tuple[Any, ...]:
    """The transformer, or the experts for noisy and for later steps."""
    return tuple(filter(None, (pipeline.transformer, pipeline.transformer_2)))


def _pixels(frames: FrameBatch) -> torch.Tensor:
    """uint8 (f, h, w, 3) as the VAE reads it: float32 (1, 3, f, h, w) in [-1, 1]."""
    return torch.from_numpy(frames).permute(3, 0, 1, 2)[None].float() / 255 * 2 - 1


def _frames(pixels: torch.Tensor) -> FrameBatch:
    """(1, 3, f, h, w) in [-1, 1] and beyond, as uint8 (f, h, w, 3) on the host."""
    levels = ((pixels[0].float().clamp(-1, 1) + 1) * 127.5).round()
    frames: FrameBatch = levels.to(torch.uint8).permute(1, 2, 3, 0).cpu().numpy()
    return frames
