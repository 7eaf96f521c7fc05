"""C2PA manifests in real files, and what verification says about each fault."""

import datetime as dt
import json
import shutil
import subprocess
import time
from fractions import Fraction
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest
from typer.testing import CliRunner

from onetake.entrypoints.cli import app
from onetake.jobs.request import Output
from onetake.media.encoder import VideoEncoder
from onetake.trust.provenance import c2pa_manifest as manifest
from onetake.trust.provenance.c2pa_manifest import Ingredient, read, sign
from onetake.trust.provenance.certificate import make_signature, read_signature, trial_signature

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
    """The same video, signed by an operator."""
    path = Path(shutil.copy(plain, tmp_path / "signed.mp4"))
    sign(path, FACTS, [], make_signature("An operator"), None)
    return path


def test_a_signed_file_holds(signed: Path) -> None:
    """Under the signer's own anchors the manifest holds, with the facts and the signer's name."""
    finding = read(signed, make_signature("An operator").chain)
    assert (finding.problem, finding.signer, finding.is_test) == ("", "An operator", False)
    assert finding.facts == FACTS


def test_one_flipped_byte(signed: Path) -> None:
    """If one byte of the picture changes, the file is reported as altered."""
    content = bytearray(signed.read_bytes())
    content[-2000] ^= 1
    signed.write_bytes(content)
    assert read(signed, make_signature("An operator").chain).problem.startswith("altered")


def test_a_remux_drops_it(signed: Path, tmp_path: Path) -> None:
    """A copy of only the streams carries no manifest."""
    copy = tmp_path / "copy.mp4"
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-loglevel", "error", "-i", signed, "-c", "copy"]
    subprocess.run([*command, copy], check=True)
    assert read(copy).problem == "none: never there, or removed"


def test_a_foreign_certificate(signed: Path) -> None:
    """A certificate that is not under the anchors is reported as foreign."""
    assert read(signed, make_signature("Somebody else").chain).problem.startswith("foreign")


def test_the_leaf_is_no_anchor(signed: Path) -> None:
    """A leaf given as anchor is refused, and the problem asks for its root."""
    leaf = make_signature("An operator").chain.partition("-----END CERTIFICATE-----\n")
    assert "give its root as anchor" in read(signed, "".join(leaf[:2])).problem


@pytest.mark.parametrize("mark", [b"uuid\xd8\xfe", b"\xd8\xfe\xc3", b"jumb", b"c2pa\x00\x11"])
def test_a_damaged_manifest_was_there(mark: bytes, signed: Path) -> None:
    """If a header has a wrong bit, the manifest is damaged, even if c2pa itself sees none."""
    content = bytearray(signed.read_bytes())
    content[content.index(mark)] ^= 1
    signed.write_bytes(content)
    assert read(signed, make_signature("An operator").chain).problem.startswith("damaged: ")


def test_an_active_manifest_that_is_not_there(signed: Path) -> None:
    """A wrong bit in the manifest's name is reported as a problem and never crashes the reader."""
    content = signed.read_bytes()
    start = content.index(b"urn:c2pa:")
    for position in range(start, start + 60):
        changed = bytearray(content)
        changed[position] ^= 1
        signed.write_bytes(changed)
        assert read(signed).problem, position


def test_other_containers_carry_none(tmp_path: Path) -> None:
    """A file that c2pa cannot read, such as a WebM, is not called damaged."""
    (tmp_path / "a.webm").write_bytes(b"\x1aE\xdf\xa3" + bytes(200))
    (tmp_path / "empty.mp4").touch()
    for name in ("a.webm", "empty.mp4"):
        assert read(tmp_path / name).problem == manifest.NONE


def test_anchors_that_are_none(signed: Path) -> None:
    """A text without a certificate is refused, so that no signer is called foreign by mistake."""
    with pytest.raises(ValueError, match="no certificate"):
        read(signed, "hello")


@pytest.fixture
def verify(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """Run `onetake verify` in an empty folder, without a policy."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ONETAKE_POLICY", raising=False)
    return lambda *arguments: CliRunner().invoke(app, ["verify", *map(str, arguments)])


def test_a_file_s_words_are_only_shown(verify, plain: Path, tmp_path: Path) -> None:
    """Markup, escapes and missing facts in a tag do no harm."""
    copy = tmp_path / "tagged.mp4"
    for facts, shown in (
        ({"generator": "Onetake"}, "says no model"),
        ({"generator": "Onetake", "model": "[/red]\x1b[2J[bold]x"}, "[/red]?[2J[bold]x"),
    ):
        comment = f"comment={json.dumps(facts)}"
        command = [imageio_ffmpeg.get_ffmpeg_exe(), "-loglevel", "error", "-y", "-i", plain]
        subprocess.run([*command, "-c", "copy", "-metadata", comment, copy], check=True)
        run = verify(copy)
        assert (run.exit_code, shown in run.stdout) == (0, True), run.output


def test_a_damaged_manifest_fails_verification(verify, signed: Path) -> None:
    """The exit code is 1, whatever else the file carries."""
    content = bytearray(signed.read_bytes())
    content[content.index(b"jumb")] ^= 1
    signed.write_bytes(content)
    run = verify(signed)
    assert (run.exit_code, "damaged: " in run.stdout) == (1, True)


def test_anchors_without_a_certificate_are_refused(verify, signed: Path, tmp_path: Path) -> None:
    """Words, a key, an empty file and a broken certificate are refused in one line."""
    anchor = tmp_path / "anchor.pem"
    chain = make_signature("An operator").chain
    for text in ("hello", make_signature("An operator").key, "", chain[:200] + chain[240:]):
        anchor.write_text(text)
        run = verify(signed, "--anchor", anchor)
        assert run.exit_code == 1
        sentence = "invalid_input: --anchor: is no readable PEM file of certificates"
        assert run.stderr.strip() == sentence
    anchor.write_text(chain)
    assert "holds, signed by An operator" in verify(signed, "--anchor", anchor).stdout


def test_an_expired_certificate(plain: Path, tmp_path: Path) -> None:
    """A certificate signs while it is valid, and is reported once it has expired."""
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
    """A test certificate is reported as such and as foreign."""
    path = Path(shutil.copy(plain, tmp_path / "signed.mp4"))
    sign(path, FACTS, [Ingredient("image", "image/png", picture())], trial_signature(), None)
    finding = read(path)
    assert finding.is_test
    assert finding.problem.startswith("foreign")


def picture() -> bytes:
    """A small picture as PNG."""
    from onetake.trust.provenance.apply import picture_ingredient  # noqa: PLC0415

    return picture_ingredient("image", np.zeros((16, 16, 3), np.uint8)).content


def test_a_refused_certificate_leaves_the_file(plain: Path, tmp_path: Path) -> None:
    """If signing fails, the file is unchanged and nothing is left beside it."""
    path = Path(shutil.copy(plain, tmp_path / "clip.mp4"))
    before = path.read_bytes()
    broken = make_signature("An operator")._replace(key="no key")
    with pytest.raises(ValueError, match=r"\w"):
        sign(path, FACTS, [], broken, None)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["clip.mp4"]


def test_a_key_of_another_certificate(tmp_path: Path) -> None:
    """A key that does not belong to the chain is refused when it is read."""
    (tmp_path / "chain.pem").write_text(make_signature("One").chain)
    (tmp_path / "key.pem").write_text(make_signature("Two").key)
    with pytest.raises(ValueError, match="not that of the chain"):
        read_signature(tmp_path / "chain.pem", tmp_path / "key.pem")


def test_formats_that_can_be_signed() -> None:
    """Every format listed is one that c2pa-python can sign, and WebM is not."""
    assert set(manifest.FORMATS.values()) <= set(manifest.c2pa.Builder.get_supported_mime_types())
    assert "video/webm" not in manifest.c2pa.Builder.get_supported_mime_types()
