"""What a plan will cost in seconds, memory and dollars, from counted operations.

The floating-point operations of one transformer forward are counted from the model's sizes
(multiplications and additions both): for each layer and token, six square projections of
self- and cross-attention and the two of the feed-forward part, and 4 x tokens^2 x hidden_size for
attention itself. For Wan2.2-TI2V-5B at 1280x704, 121 frames, that gives 511 TFLOP a forward.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from onetake.spec import ModelSpec

# Dense bf16 TFLOP/s from the makers' data sheets.
CARDS = {
    "NVIDIA GeForce RTX 4090": 165.0,
    "NVIDIA GeForce RTX 5090": 210.0,
    "NVIDIA L40S": 362.0,
    "NVIDIA A100": 312.0,
    "NVIDIA H100": 989.0,
    "NVIDIA H200": 989.0,
}
DEFAULT_CARD = "NVIDIA GeForce RTX 4090"
ATTAINED = 0.42  # of the data sheet's rate: stock diffusers on an H100, 1.235 s for 517 TFLOP
CPU_TFLOPS = 0.055  # attained by two cores on the embedded model: 0.14 TFLOP in 2.6 s
CPU = "CPU"


@dataclass(frozen=True)
class Estimate:
    """Before the fact; the result's ``timings``, ``memory`` and ``cost`` are measured."""

    seconds: float
    dollars: float
    resident_gib: float  # with every component on the card
    offload_gib: float  # with each on it only while it works
    card: str
    denoise_share: float  # of the seconds; decoding takes the rest

    def summary(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "seconds": round(self.seconds, 1),
            "dollars": round(self.dollars, 4),
            "resident_gib": round(self.resident_gib, 1),
            "offload_gib": round(self.offload_gib, 1),
            "card": self.card,
        }


def forward_tflop(spec: ModelSpec, size: tuple[int, int], num_frames: int) -> float:
    """Operations of one forward of the transformer, in units of 1e12."""
    latent_frames = (num_frames - 1) // spec.frame_step + 1
    tokens = latent_frames * (size[0] // spec.size_multiple) * (size[1] // spec.size_multiple)
    linear = 2 * tokens * (6 * spec.hidden_size**2 + 2 * spec.hidden_size * spec.ffn_size)
    attention = 4 * tokens**2 * spec.hidden_size
    return spec.layers * (linear + attention) / 1e12


def estimate(
    spec: ModelSpec,
    size: tuple[int, int],
    frame_counts: Sequence[int],
    *,
    forwards: int,
    price_per_second: float,
    card: str | None,
) -> Estimate:
    """Seconds, dollars and memory of segments of ``frame_counts`` frames each.

    Args:
        spec: the model.
        size: generated (width, height).
        frame_counts: generated frames of each segment.
        forwards: runs of the transformer for one segment.
        price_per_second: dollars.
        card: name of the card; None for the CPU. An unknown card counts as an RTX 4090.
    """
    if card is None:
        rate, named = CPU_TFLOPS, CPU
    else:
        named = next((known for known in CARDS if card.startswith(known)), DEFAULT_CARD)
        rate = CARDS[named] * ATTAINED
    pixels = size[0] * size[1] / (spec.sizes[0][0] * spec.sizes[0][1])
    denoise_tflop = sum(forwards * forward_tflop(spec, size, frames) for frames in frame_counts)
    tflop = denoise_tflop + spec.vae_tflop * pixels * sum(frame_counts) / spec.max_frames
    denoise_gib = spec.denoise_gib * pixels * max(frame_counts) / spec.max_frames
    decode_gib = spec.decode_gib * pixels
    return Estimate(
        seconds=tflop / rate,
        dollars=tflop / rate * price_per_second,
        resident_gib=spec.weights_gib + max(denoise_gib, decode_gib),
        offload_gib=max(
            spec.text_encoder_gib, spec.transformer_gib + denoise_gib, spec.vae_gib + decode_gib
        ),
        card=named,
        denoise_share=denoise_tflop / tflop,
    )
