"""What a plan will cost in seconds and dollars, from counted operations.

The floating-point operations of one transformer forward are counted from the model's sizes
(multiplications and additions both): for each layer and token, six square projections of
self- and cross-attention and the two of the feed-forward part, and 4 x tokens^2 x hidden_size for
attention itself. For Wan2.2-TI2V-5B at 1280x704, 121 frames, that gives 511 TFLOP a forward.
Seconds are these operations divided by the rate of the card's data sheet and by the share of it
that an H200 attained: for every other card a projection. Attention counts at the rate of bf16 in
every profile: its 8-bit kernels attain less of theirs (bench/results/attention.json).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from onetake.models.acceleration import Effect
from onetake.models.spec import ModelSpec


@dataclass(frozen=True)
class Card:
    """Dense TFLOP/s of its data sheet, in bf16 and in the kind of 8 bits that suits it; memory."""

    bf16: float
    eight_bit: float
    gib: float


CARDS = {
    "NVIDIA GeForce RTX 4090": Card(165.0, 660.0, 24),
    "NVIDIA GeForce RTX 5090": Card(210.0, 419.0, 32),
    "NVIDIA L40S": Card(362.0, 733.0, 48),
    "NVIDIA A100": Card(312.0, 624.0, 80),
    "NVIDIA H100": Card(989.0, 1979.0, 80),
    "NVIDIA H200": Card(989.0, 1979.0, 141),
}
DEFAULT_CARD = "NVIDIA GeForce RTX 4090"
# Shares of those rates that an H200 attained in the default job: 100 forwards of 517 TFLOP in
# 91.1 s, and decoding, 2,011 TFLOP in 3.4 s (bench/results/profiles.json).
FORWARD_ATTAINED, DECODE_ATTAINED = 0.57, 0.59
CPU_TFLOPS = 0.055  # attained by two cores on the embedded model: 0.14 TFLOP in 2.6 s
CPU = "CPU"


@dataclass(frozen=True)
class HostedPrice:
    """The price of a clip at a hosted service, from its page on ``date``."""

    name: str
    dollars: float
    seconds: float  # of the clip
    source: str
    date: str


HOSTED = (
    HostedPrice(
        name="RunPod's public endpoint wan-2-2-i2v-720",
        dollars=0.30,
        seconds=5,
        source="docs.runpod.io/public-endpoints/models/wan-2-2-i2v",
        date="August 2026",
    ),
)


@dataclass(frozen=True)
class Estimate:
    """What to expect; the result's ``timings``, ``memory`` and ``cost`` are measured."""

    seconds: float
    dollars: float
    most_dollars: float  # if all retries are used
    peak_gib: float | None  # of the card
    placement: str
    card: str
    denoise_share: float  # of the seconds; decoding takes the rest

    def summary(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "seconds": round(self.seconds, 1),
            "dollars": round(self.dollars, 4),
            "most_dollars": round(self.most_dollars, 4),
            "peak_gib": self.peak_gib and round(self.peak_gib, 1),
            "placement": self.placement,
            "card": self.card,
        }


def known_card(name: str) -> str:
    """The row of `CARDS` for a card; an unknown one counts as an RTX 4090."""
    return next((card for card in CARDS if name.startswith(card)), DEFAULT_CARD)


def forward_tflop(spec: ModelSpec, size: tuple[int, int], num_frames: int) -> tuple[float, float]:
    """TFLOP of one forward: of its linear layers, and of attention."""
    latent_frames = (num_frames - 1) // spec.segment.frame_step + 1
    tokens = (
        latent_frames
        * (size[0] // spec.segment.size_multiple)
        * (size[1] // spec.segment.size_multiple)
    )
    linear = (
        2
        * tokens
        * (6 * spec.network.hidden_size**2 + 2 * spec.network.hidden_size * spec.network.ffn_size)
    )
    attention = 4 * tokens**2 * spec.network.hidden_size
    return spec.network.layers * linear / 1e12, spec.network.layers * attention / 1e12


def stage_seconds(
    spec: ModelSpec,
    effect: Effect,
    size: tuple[int, int],
    frame_counts: Sequence[int],
    *,
    forwards: Sequence[int],
    card: str | None,
) -> tuple[float, float]:
    """Seconds of denoising and of decoding segments of ``frame_counts`` frames each.

    Args:
        spec: the model.
        effect: of the profile, which says whether linear layers run in 8 bits.
        size: generated (width, height).
        frame_counts: generated frames of each segment.
        forwards: runs of the transformer for each segment.
        card: name of the card; None for the CPU.
    """
    pixels = size[0] * size[1] / (spec.segment.sizes[0][0] * spec.segment.sizes[0][1])
    decode = spec.network.vae_tflop * pixels * sum(frame_counts) / spec.segment.max_frames
    linear = attention = 0.0
    for frames, runs in zip(frame_counts, forwards, strict=True):
        of_linear, of_attention = forward_tflop(spec, size, frames)
        linear, attention = linear + runs * of_linear, attention + runs * of_attention
    if card is None:
        return (linear + attention) / CPU_TFLOPS, decode / CPU_TFLOPS
    rates = CARDS[known_card(card)]
    rate = rates.eight_bit if effect.eight_bit else rates.bf16
    denoise = (linear / rate + attention / rates.bf16) / FORWARD_ATTAINED
    return denoise, decode / rates.bf16 / DECODE_ATTAINED
