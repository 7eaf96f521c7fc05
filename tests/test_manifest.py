"""C2PA manifests in real files, and what verification says of each fault."""

import datetime as dt
import shutil
import subprocess
import time
from fractions import Fraction
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest

from onetake.encode import VideoEncoder
from onetake.job import Output
from onetake.provenance import manifest
from onetake.provenance.certificate import make_signature, read_signature, trial_signature
from onetake.provenance.manifest import Ingredient, read, sign

FACTS = {"model": "tiny", "seed": 5}


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A video without a manifest."""
    path = tmp_path_factory.mktemp("clips") / "clip.mp4"
    noise = np.random.default_rng(0).integers(0, 255, (12, 96, 128, 3), dtype=np.uint8)
    with VideoEncoder(path, (128, 96), Fraction(12), Output()) as encoder:
        encoder.write(noise)
    return path


@pytest.fixture
def signed(plain: Path, tmp_path: Path) -> Path:
    """The same, signed by an operator."""
    path = Path(shutil.copy(plain, tmp_path / "signed.mp4"))
    sign(path, FACTS, [], make_signature("An operator"), None)
    return path


def test_a_signed_file_holds(signed: Path) -> None:
    """Under its own anchors, with the facts and the signer's name."""
    found = read(signed, make_signature("An operator").chain)
    assert (found.problem, found.signer, found.is_test) == ("", "An operator", False)
    assert found.facts == FACTS


def test_one_flipped_byte(signed: Path) -> None:
    """Of the picture is named as an alteration."""
    content = bytearray(signed.read_bytes())
    content[-2000] ^= 1
    signed.write_bytes(content)
    assert read(signed, make_signature("An operator").chain).problem.startswith("altered")


def test_a_remux_drops_it(signed: Path, tmp_path: Path) -> None:
    """A copy of the streams alone carries no manifest."""
    copy = tmp_path / "copy.mp4"
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-loglevel", "error", "-i", signed, "-c", "copy"]
    subprocess.run([*command, copy], check=True)
    assert read(copy).problem == "none: never there, or removed"


def test_a_foreign_certificate(signed: Path) -> None:
    """One under other anchors is named so."""
    assert read(signed, make_signature("Somebody else").chain).problem.startswith("foreign")


def test_an_expired_certificate(plain: Path, tmp_path: Path) -> None:
    """It signs while it lives, and is named once it has expired."""
    path = Path(shutil.copy(plain, tmp_path / "signed.mp4"))
    ends = time.time() + 3
    short = make_signature("Short", dt.timedelta(seconds=3))
    sign(path, FACTS, [], short, None)
    assert read(path, short.chain).problem == ""
    time.sleep(max(0.0, ends + 1.5 - time.time()))  # certificates live by the clock
    assert read(path, short.chain).problem == "its certificate has expired"
    with pytest.raises(ValueError, match="not valid"):
        sign(path, FACTS, [], short, None)


def test_a_test_certificate_says_so(plain: Path, tmp_path: Path) -> None:
    """And is foreign to everybody."""
    path = Path(shutil.copy(plain, tmp_path / "signed.mp4"))
    sign(path, FACTS, [Ingredient("image", "image/png", picture())], trial_signature(), None)
    found = read(path)
    assert found.is_test
    assert found.problem.startswith("foreign")


def picture() -> bytes:
    """A PNG."""
    from onetake.marking import picture_ingredient  # noqa: PLC0415

    return picture_ingredient("image", np.zeros((16, 16, 3), np.uint8)).content


def test_a_refused_certificate_leaves_the_file(plain: Path, tmp_path: Path) -> None:
    """Nothing is left beside it, and it is as it was."""
    path = Path(shutil.copy(plain, tmp_path / "clip.mp4"))
    before = path.read_bytes()
    broken = make_signature("An operator")._replace(key="no key")
    with pytest.raises(ValueError, match=r"\w"):
        sign(path, FACTS, [], broken, None)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["clip.mp4"]


def test_a_key_of_another_certificate(tmp_path: Path) -> None:
    """Is found when it is read, not when a take is signed."""
    (tmp_path / "chain.pem").write_text(make_signature("One").chain)
    (tmp_path / "key.pem").write_text(make_signature("Two").key)
    with pytest.raises(ValueError, match="not that of the chain"):
        read_signature(tmp_path / "chain.pem", tmp_path / "key.pem")


def test_formats_that_can_be_signed() -> None:
    """Are those of our containers that c2pa-python writes."""
    assert set(manifest.FORMATS.values()) <= set(manifest.c2pa.Builder.get_supported_mime_types())
    assert "video/webm" not in manifest.c2pa.Builder.get_supported_mime_types()
