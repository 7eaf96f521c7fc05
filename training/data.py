"""The transformer's training set: drawn clips as normalised latents beside their captions."""

from __future__ import annotations

import json
import math
import multiprocessing
import random
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKLWan
from safetensors.torch import load_file
from torch import Tensor

from training import clips
from training.architecture import TEXT_LENGTH, build_tokenizer, build_vae
from training.captions import Scene, caption
from training.engine import DEVICE, autocast
from training.fast import decode_clip, encode_clip, to_clip_mode

if TYPE_CHECKING:
    from collections.abc import Callable

    # Takes latents and token ids of a chunk, returns imperfect latents.
    Damage = Callable[[Tensor, Tensor], Tensor]

CAPTIONS = 4  # wordings kept for each clip
RECODED_SHARE = 0.6  # of the clips have an imperfect context
CHUNK = 200  # clips drawn and encoded at once; buckets are whole chunks, so that shapes are few
MOST_HOPS = 4  # times that an imperfect context has been handed on
TINT = 0.05  # of full brightness: what colours are off at most after each of them


@dataclass(frozen=True)
class Shape:
    """One kind of clip: its size in pixels and frames, how many are held, and the batch."""

    height: int
    width: int
    frames: int
    clips: int
    batch: int


SHAPES = {
    "square": Shape(128, 128, 33, 13000, 160),
    "short": Shape(128, 128, 17, 13000, 288),
    "wide": Shape(128, 224, 33, 6500, 96),
    "tall": Shape(224, 128, 33, 6500, 96),
    "middle": Shape(160, 160, 25, 4000, 128),
    "large": Shape(192, 192, 17, 4000, 128),
    "largest": Shape(256, 256, 17, 2000, 72),
}
ORDER = (
    "square", "wide", "short", "tall", "square", "large", "wide", "short", "middle", "tall",
    "square", "wide", "largest", "short", "tall", "large", "square", "middle",
)  # fmt: skip


@dataclass
class Bucket:
    """Clips of one shape on the device.

    latents bf16 [N, 48, T, h, w], normalised; drifted bf16 [N, 48, T, h, w]: the same as a chain
    hands them on, for the first RECODED_SHARE of the clips damaged, decoded and encoded;
    ending bf16 [N, 48, 1, h, w]: the last latent of the last frame held still, as a given last
    image is encoded;
    full_ids int64 [R, TEXT_LENGTH]: complete captions of those;
    ids int16 [N, CAPTIONS, TEXT_LENGTH]; start int [N]:
    the latents before the captioned movement, which must be given (0 if it is there from the
    start); late bool [N]: in mid-movement at the first frame, so that it makes no sense unprompted.
    """

    latents: Tensor
    drifted: Tensor
    ending: Tensor
    product: Tensor
    ids: Tensor
    full_ids: Tensor
    start: Tensor
    late: Tensor


class Codec:
    """The trained VAE in clip mode, with its normalisation."""

    def __init__(self, work: Path) -> None:
        """Read vae.safetensors and latent_stats.json."""
        vae = build_vae()
        vae.load_state_dict(load_file(work / "vae.safetensors"))
        self.vae: AutoencoderKLWan = to_clip_mode(vae).to(DEVICE)
        stats = json.loads((work / "latent_stats.json").read_text())
        self.mean, self.std = (
            torch.tensor(stats[key], device=DEVICE).view(1, -1, 1, 1, 1) for key in ("mean", "std")
        )

    @torch.no_grad()
    def encode(self, video: Tensor) -> Tensor:
        """uint8 frames [B, 3, F, H, W] to normalised latents (bf16)."""
        with autocast():
            latents, _ = encode_clip(self.vae, video.float() / 127.5 - 1)
        return ((latents.float() - self.mean) / self.std).bfloat16()

    @torch.no_grad()
    def decode(self, latents: Tensor) -> Tensor:
        """Normalised latents to uint8 frames [B, 3, F, H, W]."""
        with autocast():
            video = decode_clip(self.vae, latents.float() * self.std + self.mean)
        return (video.float().clamp(-1, 1) * 127.5 + 128).to(torch.uint8)


def hold(image: Tensor) -> Tensor:
    """A frame [B, 3, 1, H, W] for as long as two latents: the second is that of a still end."""
    return image.expand(-1, -1, 5, -1, -1)


def where_product(mask: Tensor) -> Tensor:
    """The latents [N, 1, T, H / 16, W / 16] that the product's mask [N, 1, F, H, W] touches."""
    touched = F.max_pool3d(mask.half(), (1, 16, 16)) > 0
    later = touched[:, :, 1:].unflatten(2, (-1, 4)).any(dim=3)
    return torch.cat([touched[:, :, :1], later], dim=2)


def build_bucket(codec: Codec, shape: Shape, seed: int, count: int, damage: Damage) -> Bucket:
    """Draw, encode and caption `count` clips of this shape, or as many as make the chunks whole."""
    rng = random.Random(seed)
    count = math.ceil(count / CHUNK) * CHUNK if count > CHUNK else count
    scenes = clips.random_scenes(count, rng)
    made = clips.make_clips(
        scenes, shape.frames, shape.height, shape.width, rng, late_share=0.35, change_share=0.2
    )
    encoded, endings, products = [], [], []
    for begin in range(0, count, CHUNK):
        video, mask = clips.draw(made.part(begin, begin + CHUNK), DEVICE)
        products.append(where_product(mask))
        encoded.append(codec.encode(video))
        endings.append(codec.encode(hold(video[:, :, -1:]))[:, :, -1:])
    latents = torch.cat(encoded)
    share = round(count * RECODED_SHARE / CHUNK) * CHUNK or round(count * RECODED_SHARE)
    recoded = scenes[: max(1, share)]
    bucket = Bucket(
        latents,
        latents.clone(),
        torch.cat(endings),
        torch.cat(products),
        caption_ids(scenes, seed).to(DEVICE),
        tokenize([caption(scene, rng, full=True) for scene in recoded]).to(DEVICE),
        ((made.change + 3) // 4).to(DEVICE),
        made.late.to(DEVICE),
    )
    recode(codec, bucket, damage)
    return bucket


@torch.no_grad()
def recode(codec: Codec, bucket: Bucket, damage: Damage) -> None:
    """Let clips drift anew: damaged, tinted, decoded and encoded, up to MOST_HOPS times."""
    for begin in range(0, len(bucket.full_ids), CHUNK):
        ids = bucket.full_ids[begin : begin + CHUNK]
        part = slice(begin, begin + len(ids))
        given = bucket.latents[part]
        for _ in range(1 + begin // CHUNK % MOST_HOPS):
            given = codec.encode(tinted(codec.decode(damage(given, ids))))
        bucket.drifted[part] = given


def tinted(video: Tensor) -> Tensor:
    """Frames [B, 3, F, H, W] whose colours are off alike in all, smoothly over the picture."""
    count, channels = video.shape[:2]
    amount = 255 * TINT * torch.rand(count, 1, 1, 1, device=video.device)
    shift = amount * (2 * torch.rand(count, channels, 3, 3, device=video.device) - 1)
    shift = F.interpolate(shift, size=video.shape[-2:], mode="bilinear", align_corners=True)
    return (video + shift[:, :, None] + 0.5).clamp(0, 255).to(torch.uint8)


def caption_ids(scenes: list[Scene], seed: int) -> Tensor:
    """Token ids int16 [N, CAPTIONS, TEXT_LENGTH] of random wordings."""
    parts = [(scenes[i : i + 500], seed * 1_000_003 + i) for i in range(0, len(scenes), 500)]
    # Workers only make strings: a forked child that calls torch or a tokenizer can hang.
    with multiprocessing.get_context("fork").Pool(8) as pool:
        texts = [text for part in pool.map(_word, parts) for text in part]
    return tokenize(texts).view(len(scenes), CAPTIONS, TEXT_LENGTH).to(torch.int16)


def _word(part: tuple[list[Scene], int]) -> list[str]:
    scenes, seed = part
    rng = random.Random(seed)
    return [caption(scene, rng) for scene in scenes for _ in range(CAPTIONS)]


def tokenize(texts: list[str]) -> Tensor:
    """Token ids int64 [N, TEXT_LENGTH], padded with 0."""
    tokens = build_tokenizer()(
        texts, padding="max_length", truncation=True, max_length=TEXT_LENGTH, return_tensors="pt"
    )
    return tokens.input_ids
