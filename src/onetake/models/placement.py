"""Where a model's parts are while it works, and the card's memory for that: arithmetic alone.

The peak is the weights that stay on the card and the larger of two working memories: a forward's,
which grows with the number of tokens, and the decoder's, which grows with the picture alone. Both
stand in the model table, for its first size and longest segment, and agree to 10% with what
bench/memory.py, bench/models.py and bench/profiles.py measured.
"""

from onetake.models.acceleration import Effect
from onetake.models.spec import ModelSpec

# The fastest first. A streamed layer is on the card only while it computes.
RESIDENT, TEXT_STREAMED, STREAMED = "resident", "text encoder streamed", "streamed"
_USABLE = 0.97  # of a card; CUDA itself takes the rest


def peaks(
    spec: ModelSpec, effect: Effect, size: tuple[int, int], num_frames: int
) -> dict[str, float]:
    """GiB of the card by placement, for a segment of (width, height) and ``num_frames``."""
    pixels = size[0] * size[1] / (spec.segment.sizes[0][0] * spec.segment.sizes[0][1])
    latents, most = (
        (n - 1) // spec.segment.frame_step + 1 for n in (num_frames, spec.segment.max_frames)
    )
    denoise = spec.memory.denoise_gib * pixels * latents / most
    if effect.streamed:
        return {STREAMED: spec.memory.vae_gib + max(denoise, spec.memory.tile_gib)}
    share = 0.5 if effect.eight_bit else 1.0  # of the bytes of bf16
    text, transformer = (
        share * gib for gib in (spec.memory.text_encoder_gib, spec.memory.transformer_gib)
    )
    streamed = spec.memory.vae_gib + max(denoise, spec.memory.decode_gib * pixels)
    text_streamed = streamed + transformer
    return {RESIDENT: text_streamed + text, TEXT_STREAMED: text_streamed, STREAMED: streamed}


def fitting(peaks_gib: dict[str, float], card_gib: float) -> tuple[str, float] | None:
    """The first placement that fits a card, and its peak; None if none does."""
    usable = _USABLE * card_gib
    return next((row for row in peaks_gib.items() if row[1] <= usable), None)
