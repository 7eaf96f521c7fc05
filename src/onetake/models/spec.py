"""What a model is, what a profile promises, and what every model must be able to do."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from onetake.media.frames import FrameBatch


@dataclass(frozen=True)
class ModelSpec:
    """One row of the model table: what the plan, the request and the loader must know.

    Sizes are (width, height) in pixels. A model makes ``frame_step * k + 1`` frames at a time.
    """

    name: str
    repo_id: str  # on the Hugging Face hub; empty for the embedded model
    revision: str  # the hub's commit that is fetched, and no other
    module: str  # the module of onetake.models that loads it
    licence: str
    sizes: tuple[tuple[int, int], ...]  # the sizes that it is good at, the default first
    default_size: tuple[int, int]  # delivered when neither the job nor an image says
    native_fps: int
    min_frames: int
    max_frames: int  # of one segment
    num_inference_steps: int
    guidance_scale: float
    flow_shift: float
    max_sequence_length: int  # tokens of text
    overlaps: tuple[int, ...]  # frames of context that it can continue from; empty: it cannot
    default_overlap: int
    layers: int
    hidden_size: int
    ffn_size: int
    text_encoder_gib: float  # weights in bf16
    transformer_gib: float  # of all experts
    vae_gib: float
    denoise_gib: float  # activations of a forward at `sizes[0]` and `max_frames`
    decode_gib: float  # the decoder's activations and cache at `sizes[0]`, whatever the length
    tile_gib: float  # the stock decoder's activations on one tile of 256 x 256
    vae_tflop: float  # decoding `max_frames` at `sizes[0]`: bench/count_operations.py
    few_steps: str = ""  # the row with its distilled weights, which the profile turbo runs
    expert_guidance: float | None = None  # of a second expert, for later steps
    continued_guidance: float | None = None  # of what goes on with the same prompt, if another
    base: str = ""  # the row that lends the components which these weights leave out
    distilled: bool = False  # to its number of steps, without guidance
    sigmas: tuple[float, ...] = ()  # its noise levels, if it draws fresh noise at each
    frame_step: int = 4
    size_multiple: int = 32  # pixels a side that one token covers, over frame_step frames

    @property
    def weights_gib(self) -> float:
        """All components in bf16."""
        return self.text_encoder_gib + self.transformer_gib + self.vae_gib

    @property
    def resident_gib(self) -> float:
        """Memory of the card with every component on it, at `sizes[0]` and `max_frames`."""
        return self.weights_gib + max(self.denoise_gib, self.decode_gib)

    @property
    def streamed_gib(self) -> float:
        """The same with the text encoder on the host, from where it goes through the card."""
        return self.resident_gib - self.text_encoder_gib

    @property
    def takes_image(self) -> bool:
        """Whether a first frame can be given; what can continue frames can start from one."""
        return bool(self.overlaps)


@dataclass(frozen=True)
class DenoiseRequest:
    """All that decides one segment's latents.

    ``context`` holds the frames that the segment starts with, uint8 RGB of shape
    (4j+1, height, width, 3), or None for a segment made from text alone. ``last_frame`` is of shape
    (1, height, width, 3): what the segment ends on, which needs a context.
    """

    prompt: str
    negative_prompt: str
    width: int
    height: int
    num_frames: int
    num_inference_steps: int
    guidance_scale: float
    flow_shift: float
    seed: int
    context: FrameBatch | None = None
    last_frame: FrameBatch | None = None
    context_noise: float = 0.0  # standard deviations of noise on the context's latents


class VideoModel(Protocol):
    """A loaded model. Latents are the model's own and opaque to everybody else."""

    spec: ModelSpec
    revision: str
    placement: str
    pipeline: Any  # diffusers', for tuning to work on
    transformers: tuple[Any, ...]  # of it; two if it has experts for noisy and for later steps
    decoder: Any  # its VAE's decoder as it is run

    def denoise(self, request: DenoiseRequest, on_step: Callable[[int], None]) -> Any:
        """Latents of one segment; ``on_step(i)`` is called after step i and may raise to stop.

        Raises:
            DeviceError: the card ran out of memory or was lost.
        """

    def decode(self, latents: Any) -> Iterator[FrameBatch]:
        """The segment's frames in order, one latent at a time.

        Raises:
            DeviceError: the card ran out of memory or was lost.
        """

    def save_latents(self, latents: Any, file: Path) -> None:
        """Write latents, so that `load_latents` gives them back to the bit.

        Raises:
            OSError: it cannot.
        """

    def load_latents(self, file: Path) -> Any:
        """Latents that were saved.

        Raises:
            OSError: they cannot be read.
        """

    def lean(self) -> bool:
        """Go on in less memory, if slower: `placement` says how. False: there is no way left."""

    def forget_prompts(self) -> None:
        """Let go of the text that was encoded before."""

    def count_tokens(self, prompt: str) -> int:
        """Tokens of ``prompt``, of which the model reads `spec.max_sequence_length`."""

    def peak_gib(self) -> float | None:
        """Peak memory of the card since the last call, in GiB; None without a card."""
