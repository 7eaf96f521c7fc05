"""What a model is, and what every model must be able to do.

Sizes are (width, height) in pixels; a segment is one run of a model.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from onetake.media.frames import FrameBatch


@dataclass(frozen=True)
class SegmentLimits:
    """What one run of a model makes: ``frame_step * k + 1`` frames of one of its sizes."""

    sizes: tuple[tuple[int, int], ...]  # the sizes that it is good at, the default first
    default_size: tuple[int, int]  # delivered when neither the job nor an image says
    native_fps: int
    min_frames: int
    max_frames: int
    frame_step: int = 4
    size_multiple: int = 32  # pixels a side that one token covers, over frame_step frames


@dataclass(frozen=True)
class Sampling:
    """How a model is sampled; the first three are defaults that a job may change."""

    num_inference_steps: int
    guidance_scale: float
    flow_shift: float
    max_sequence_length: int  # tokens of text
    expert_guidance: float | None = None  # of a second expert, for later steps
    continued_guidance: float | None = None  # for a segment that continues the same prompt
    distilled: bool = False  # to its number of steps, without guidance
    sigmas: tuple[float, ...] = ()  # its noise levels, if it draws fresh noise at each


@dataclass(frozen=True)
class Network:
    """The sizes from which operations are counted."""

    layers: int
    hidden_size: int
    ffn_size: int
    vae_tflop: float  # decoding the longest segment at the first size: bench/count_operations.py


@dataclass(frozen=True)
class Memory:
    """GiB of weights in bf16, and of working memory at the first size and longest segment."""

    text_encoder_gib: float
    transformer_gib: float  # of all experts
    vae_gib: float
    denoise_gib: float  # activations of a forward
    decode_gib: float  # the decoder's activations and cache, whatever the length
    tile_gib: float  # the stock decoder's activations on one tile of 256 x 256

    @property
    def weights_gib(self) -> float:
        """All components in bf16."""
        return self.text_encoder_gib + self.transformer_gib + self.vae_gib

    @property
    def streamed_gib(self) -> float:
        """Memory of the card with all on it but the text encoder, which is streamed through it."""
        work = max(self.denoise_gib, self.decode_gib)
        return self.transformer_gib + self.vae_gib + work


@dataclass(frozen=True)
class ModelSpec:
    """One row of the model table: what the plan, the request and the loader must know."""

    name: str
    repo_id: str  # on the Hugging Face hub; empty for the embedded model
    revision: str  # the hub's commit that is fetched, and no other
    family: str  # the module that describes its family: see onetake.models.families
    licence: str
    segment: SegmentLimits
    sampling: Sampling
    network: Network
    memory: Memory
    overlaps: tuple[int, ...] = ()  # frames that it can continue from; empty: it cannot
    default_overlap: int = 0
    few_steps: str = ""  # the row with its distilled weights, which the profile turbo runs
    base: str = ""  # the row that lends the components which these weights leave out

    @property
    def takes_image(self) -> bool:
        """Whether it takes a first frame: a model that continues frames can start from one."""
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
    """A loaded model, as takes use it. Its latents are opaque to everybody else."""

    spec: ModelSpec
    revision: str
    placement: str

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
        """Write latents to a file, from which `load_latents` reads the same bits.

        Raises:
            OSError: the file cannot be written.
        """

    def load_latents(self, file: Path) -> Any:
        """Latents from a file of `save_latents`.

        Raises:
            OSError: the file cannot be read.
        """

    def lean(self) -> bool:
        """Go on with less memory, more slowly; `placement` says how. False if no way is left."""

    def count_tokens(self, prompt: str) -> int:
        """Tokens of ``prompt``, of which the model reads `sampling.max_sequence_length`."""

    def reset_peak(self) -> None:
        """Start to measure the card's peak memory anew."""

    def peak_gib(self) -> float | None:
        """Peak memory of the card since `reset_peak`, in GiB; None without a card."""


class TunableModel(VideoModel, Protocol):
    """A loaded model, as techniques and benches see it."""

    pipeline: Any  # diffusers'
    transformers: tuple[Any, ...]  # of it; two if it has experts for noisy and for later steps
    decoder: Any  # of its VAE, as it is run

    def forget_prompts(self) -> None:
        """Drop the remembered text encodings."""
