"""C2PA manifests: who made a video file, with what, and whether it was changed since.

The manifest follows the C2PA specification 2.x; c2pa-python writes, signs and reads it. Copying the
streams into a new file drops the manifest, so signing comes last.
"""

import io
import json
import mmap
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import c2pa

from onetake import __version__
from onetake.trust.provenance.certificate import TEST_NAME, Signature

SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
FACTS = "org.onetake.take"  # the assertion that says how a take was made
FORMATS = {"mp4": "video/mp4", "mov": "video/quicktime"}
_SETTINGS = {"builder": {"thumbnail": {"enabled": False}}}  # the file shows no input picture
NONE = "none: never there, or removed"
_DAMAGED = "damaged: a manifest or its file cannot be read"
# The UUIDs of C2PA's box in an MP4 and of the manifests in it: damage to one leaves the other.
_TRACES = tuple(
    map(bytes.fromhex, ("d8fec3d61b0e483c92975828877ec481", "6332706100110010800000aa00389b71"))
)
_MISMATCH = ("hash", "Hash")
_PROBLEMS = {
    "signingCredential.expired": "its certificate has expired",
    "signingCredential.invalid": "its certificate is not fit for signing",
    "claimSignature.mismatch": "its signature is not that of its certificate",
    "timeStamp.mismatch": "its time stamp is of something else",
}


class Ingredient(NamedTuple):
    """One thing that a take was made from, such as a picture."""

    title: str
    media_type: str
    content: bytes


class Finding(NamedTuple):
    """What the manifest of a file says. ``problem`` is "" if nothing is wrong with it."""

    problem: str
    signer: str  # "" without a manifest
    is_test: bool
    facts: dict[str, Any]


def sign(
    video: Path,
    facts: Mapping[str, Any],
    ingredients: Iterable[Ingredient],
    signature: Signature,
    timestamp_url: str | None,
) -> None:
    """Put a signed manifest into a file with a suffix of `FORMATS`.

    Raises:
        ValueError: the certificate is refused, or the file cannot be signed.
    """
    created = {"action": "c2pa.created", "digitalSourceType": SOURCE_TYPE}
    manifest = {
        "claim_generator_info": [{"name": "Onetake", "version": __version__}],
        "title": video.name,
        "format": FORMATS[video.suffix[1:]],
        "assertions": [
            {"label": "c2pa.actions.v2", "data": {"actions": [created]}},
            {"label": FACTS, "data": dict(facts)},
        ],
    }
    signed = video.with_suffix(f".signed{video.suffix}")
    try:
        information = c2pa.C2paSignerInfo(
            b"es256",
            signature.chain.encode(),
            signature.key.encode(),
            timestamp_url.encode() if timestamp_url else None,
        )
        context = c2pa.Context(c2pa.Settings.from_dict(_SETTINGS))
        with c2pa.Builder(manifest, context) as builder:
            for ingredient in ingredients:
                description = {"title": ingredient.title, "relationship": "inputTo"}
                content = io.BytesIO(ingredient.content)
                builder.add_ingredient(description, ingredient.media_type, content)
            builder.sign_file(video, signed, c2pa.Signer.from_info(information))
    except c2pa.C2paError as error:
        signed.unlink(missing_ok=True)
        raise ValueError(str(error)) from error
    signed.replace(video)


def read(video: Path, anchors: str = "") -> Finding:
    """What the manifest of ``video`` says, and whether it holds.

    ``anchors``: PEM certificates. The signer's certificate must be under one of them; without
    anchors every signer is foreign.

    Raises:
        ValueError: there is no certificate in ``anchors``.
    """
    # A manifest elsewhere, which the file may name, is not fetched.
    settings = {"verify": {"verify_trust": True, "remote_manifest_fetch": False}}
    trust = {"trust": {"user_anchors": anchors}} if anchors else {}
    try:
        context = c2pa.Context(c2pa.Settings.from_dict(settings | trust))
    except c2pa.C2paError as error:
        raise ValueError("no certificate is in it") from error
    media_type = FORMATS.get(video.suffix[1:], "video/mp4")
    try:
        with video.open("rb") as opened, c2pa.Reader(media_type, opened, context=context) as reader:
            report = json.loads(reader.json())
    except c2pa.C2paError as error:
        return Finding(NONE if _is_none(video, error) else _DAMAGED, "", is_test=False, facts={})
    active = report["manifests"].get(report.get("active_manifest"))
    if active is None:
        return Finding(_DAMAGED, "", is_test=False, facts={})
    assertions = {entry["label"]: entry["data"] for entry in active.get("assertions", [])}
    signer = active.get("signature_info", {}).get("common_name") or ""
    codes = [status["code"] for status in report.get("validation_status", [])]
    facts = assertions.get(FACTS)
    facts = facts if isinstance(facts, dict) else {}
    return Finding(_problem(codes), signer, signer == TEST_NAME, facts)


def _is_none(video: Path, error: c2pa.C2paError) -> bool:
    """Whether the file shows no trace of a manifest; if it shows one, the manifest is damaged."""
    if video.stat().st_size == 0:
        return True
    with (
        video.open("rb") as opened,
        mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as content,
    ):
        if any(content.find(trace) >= 0 for trace in _TRACES):
            return False
        is_mp4 = content[4:8] == b"ftyp"  # c2pa reads no other container of ours
    return isinstance(error, c2pa.C2paError.ManifestNotFound) or not is_mp4


def _problem(codes: list[str]) -> str:
    """The most serious of C2PA's validation codes, in words."""
    if any(sign in code for code in codes for sign in _MISMATCH):
        return "altered: the file was changed after it was signed"
    for code, words in _PROBLEMS.items():
        if code in codes:
            return words
    if "signingCredential.untrusted" in codes:
        return "foreign: its certificate is under none of the anchors (give its root as anchor)"
    return f"invalid: {codes[0]}" if codes else ""
