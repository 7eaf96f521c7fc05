"""A picture that a job brings."""

import io
import struct
from pathlib import Path

from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError

from onetake.media.fetch import MIN_SIDE
from onetake.media.fetch.source import Expected, read_source
from onetake.runtime.errors import JobError
from onetake.runtime.settings import Settings

DESCRIPTION = "a JPEG, PNG or WebP picture"
MAX_BYTES = 32 << 20
MAX_SIDE = 16384  # pixels
MAX_PIXELS = 64_000_000
FORMATS = ("JPEG", "PNG", "WEBP")
# Pillow's own guard warns or raises by configuration; `_check_picture` is stricter.
Image.MAX_IMAGE_PIXELS = None


def load(source: str, field: str, settings: Settings, folder: Path) -> Image.Image:
    """The picture that ``source`` names, upright, RGB, 8 bits; transparency becomes white.

    Raises:
        JobError: it cannot be fetched, is no picture of a known format, or is too large.
    """
    del folder  # a picture stays in memory
    return _decode(read_source(source, Expected(field, DESCRIPTION, MAX_BYTES), settings), field)


def _decode(data: bytes, field: str) -> Image.Image:
    if data[:512].lstrip().lower().startswith((b"<!doctype", b"<html")):
        raise JobError(field, f"is a web page; give {DESCRIPTION}")
    try:
        picture = Image.open(io.BytesIO(data), formats=FORMATS)
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError):
        raise JobError(field, f"is not {DESCRIPTION}") from None
    _check_picture(picture, field)
    try:
        return _upright_rgb(picture)
    except (OSError, SyntaxError, ValueError, EOFError):
        raise JobError(field, "is damaged or cut off; send it again") from None


def _check_picture(picture: Image.Image, field: str) -> None:
    """Check the size by the header alone: nothing large is decoded."""
    if max(picture.size) > MAX_SIDE or picture.width * picture.height > MAX_PIXELS:
        raise JobError(
            field,
            f"has {picture.width}x{picture.height} pixels; at most {MAX_SIDE} a side and "
            f"{MAX_PIXELS // 10**6} million in all are legal",
        )
    if min(picture.size) < MIN_SIDE:
        problem = f"has {picture.width}x{picture.height} pixels; {MIN_SIDE} a side are the fewest"
        raise JobError(field, problem)
    # A phone's JPEG may carry a second picture (depth, HDR gain), an MPO: its first one is used.
    if picture.format != "MPO" and getattr(picture, "n_frames", 1) > 1:
        raise JobError(field, "is animated; give a still picture")


def _upright_rgb(picture: Image.Image) -> Image.Image:
    picture.load()
    try:
        upright = ImageOps.exif_transpose(picture)
    except (OSError, SyntaxError, ValueError, TypeError, struct.error):  # damaged EXIF is ignored
        upright = picture
    upright = _to_srgb(upright)
    if upright.mode.startswith("I"):  # 16 bits a channel, which convert() clips and does not scale
        upright = upright.point(lambda level: level / 256).convert("L")
    if upright.has_transparency_data:
        white = Image.new("RGBA", upright.size, "white")
        return Image.alpha_composite(white, upright.convert("RGBA")).convert("RGB")
    return upright.convert("RGB")


def _to_srgb(picture: Image.Image) -> Image.Image:
    """A picture with a colour profile of its own (Display P3, a printer's CMYK), in sRGB."""
    profile = picture.info.get("icc_profile")
    if not profile or picture.mode not in {"RGB", "CMYK"}:
        return picture
    srgb = ImageCms.createProfile("sRGB")
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        converted = ImageCms.profileToProfile(picture, source, srgb, outputMode="RGB")
    except (OSError, ImageCms.PyCMSError):  # a profile that does not fit the picture
        return picture
    return converted or picture
