"""Pictures as they come: sources, orientation, colour modes."""

import base64
from collections.abc import Callable

import numpy as np
import pytest
from conftest import Site
from PIL import Image, ImageCms

from onetake.errors import JobError
from onetake.inputs import MAX_BYTES, load_image
from onetake.settings import Settings


def test_the_four_sources_give_the_same_picture(
    picture: Image.Image, encoded: Callable[..., bytes], site: Site, settings: Settings
) -> None:
    """URL, data URI, plain base64 and a file of the input folder."""
    data = encoded(picture, "JPEG")
    site.pages["/moved"] = (302, {"Location": "/a.jpg"}, b"")
    site.pages["/a.jpg"] = (200, {}, data)
    assert settings.inputs_dir is not None
    settings.inputs_dir.mkdir()
    (settings.inputs_dir / "a.jpg").write_bytes(data)
    text = base64.b64encode(data).decode()
    sources = [
        f"{site.url}/moved",
        f"data:image/jpeg;base64,{text}",
        text,
        f"{text[:76]}\n{text[76:]}",
        str(settings.inputs_dir / "a.jpg"),
    ]
    pictures = [np.asarray(load_image(source, "image", settings)) for source in sources]
    assert all(np.array_equal(pictures[0], other) for other in pictures[1:])
    assert pictures[0].shape == (300, 400, 3)


def as_sent(image: Image.Image, encoded: Callable[..., bytes], **options: object) -> str:
    """``image`` as base64."""
    return base64.b64encode(encoded(image, **options)).decode()


def test_a_phone_s_orientation_is_honoured(
    picture: Image.Image, encoded: Callable[..., bytes], settings: Settings
) -> None:
    """A picture stored sideways with an EXIF note comes out upright."""
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees
    turned = load_image(as_sent(picture, encoded, kind="JPEG", exif=exif), "image", settings)
    assert turned.size == (300, 400)


@pytest.mark.parametrize(
    ("mode", "kind"),
    [("L", "PNG"), ("P", "PNG"), ("1", "PNG"), ("CMYK", "JPEG"), ("LA", "PNG"), ("RGBA", "WEBP")],
)
def test_every_colour_mode_becomes_rgb(
    mode: str, kind: str, picture: Image.Image, encoded: Callable[..., bytes], settings: Settings
) -> None:
    """Grey, palette, CMYK and alpha pictures look as their makers meant."""
    loaded = load_image(as_sent(picture.convert(mode), encoded, kind=kind), "image", settings)
    meant = picture.convert(mode).convert("RGB")
    assert loaded.mode == "RGB"
    difference = np.asarray(loaded).astype(int) - np.asarray(meant)
    assert np.abs(difference).mean() < 4


def test_a_phone_s_second_picture_is_no_animation(
    picture: Image.Image, encoded: Callable[..., bytes], settings: Settings
) -> None:
    """A JPEG that carries a depth or gain map (MPO) is a still picture."""
    both = as_sent(picture, encoded, kind="MPO", save_all=True, append_images=[picture])
    assert load_image(both, "image", settings).size == picture.size


def test_a_colour_profile_is_honoured(encoded: Callable[..., bytes], settings: Settings) -> None:
    """Under a profile whose red primary is sRGB's blue one, a red picture is blue."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    swapped = profile.replace(b"rXYZ", b"?XYZ").replace(b"bXYZ", b"rXYZ").replace(b"?XYZ", b"bXYZ")
    red = Image.new("RGB", (32, 32), (200, 30, 30))
    plain = load_image(as_sent(red, encoded), "image", settings)
    profiled = load_image(as_sent(red, encoded, icc_profile=swapped), "image", settings)
    assert plain.getpixel((0, 0)) == (200, 30, 30)
    assert profiled.getpixel((0, 0)) == pytest.approx((30, 30, 200), abs=8)


def test_transparency_becomes_white(encoded: Callable[..., bytes], settings: Settings) -> None:
    """A cut-out product stands on white, not on the black that hides under its alpha."""
    clear = Image.new("RGBA", (64, 64), (0, 0, 0, 0))
    loaded = load_image(as_sent(clear, encoded), "image", settings)
    assert loaded.getpixel((10, 10)) == (255, 255, 255)


def test_sixteen_bits_are_scaled(encoded: Callable[..., bytes], settings: Settings) -> None:
    """A 16-bit grey of one half stays one half."""
    grey = Image.fromarray(np.full((64, 64), 32768, np.uint16))
    loaded = load_image(as_sent(grey, encoded), "image", settings)
    assert loaded.getpixel((10, 10)) == (128, 128, 128)


def test_a_large_body_is_cut_off(site: Site, settings: Settings) -> None:
    """A body over the limit is refused."""
    site.pages["/a.png"] = (200, {}, bytes(MAX_BYTES + 1))
    with pytest.raises(JobError, match="is larger than 32 MiB"):
        load_image(f"{site.url}/a.png", "image", settings)
