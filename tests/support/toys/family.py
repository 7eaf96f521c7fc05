"""A model family that draws grey frames, without torch."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from onetake.media.frames import FrameBatch
from onetake.models.families import Family
from onetake.models.spec import (
    DenoiseRequest,
    Memory,
    ModelSpec,
    Network,
    Sampling,
    SegmentLimits,
)

FAMILY = Family(loader="tests.support.toys.family:load", techniques=frozenset({"halving"}))
ROW = ModelSpec(
    name="toy",
    repo_id="nobody/toy",
    revision="0" * 40,
    family="tests.support.toys.family",
    licence="Apache-2.0",
    segment=SegmentLimits(
        sizes=((128, 64), (64, 128)), default_size=(128, 64), native_fps=8, min_frames=5,
        max_frames=17,
    ),
    sampling=Sampling(
        num_inference_steps=4, guidance_scale=1.0, flow_shift=1.0, max_sequence_length=8
    ),
    network=Network(layers=1, hidden_size=8, ffn_size=8, vae_tflop=0.001),
    memory=Memory(
        text_encoder_gib=0.0, transformer_gib=0.0, vae_gib=0.0, denoise_gib=0.1, decode_gib=0.1,
        tile_gib=0.1,
    ),
    overlaps=(1, 5),
    default_overlap=5,
)  # fmt: skip


class ToyModel:
    """Frames of the prompt's length in grey."""

    placement = "cpu"

    def __init__(self, spec: ModelSpec, revision: str) -> None:
        self.spec, self.revision = spec, revision

    def denoise(self, request: DenoiseRequest, on_step: Callable[[int], None]) -> np.ndarray:
        for step in range(request.num_inference_steps):
            on_step(step)
        shape = (request.num_frames, request.height, request.width, 3)
        return np.full(shape, len(request.prompt), np.uint8)

    def decode(self, latents: np.ndarray) -> Iterator[FrameBatch]:
        yield latents[:1]
        for start in range(1, len(latents), 4):
            yield latents[start : start + 4]

    def save_latents(self, latents: np.ndarray, file: Path) -> None:
        with file.open("wb") as opened:
            np.save(opened, latents)

    def load_latents(self, file: Path) -> np.ndarray:
        return np.load(file)

    def lean(self) -> bool:
        return False

    def count_tokens(self, prompt: str) -> int:
        return len(prompt.split())

    def reset_peak(self) -> None:
        """There is no card."""

    def peak_gib(self) -> None:
        return None


def load(spec: ModelSpec, _folders: tuple[Path, ...], revision: str) -> ToyModel:
    return ToyModel(spec, revision)
