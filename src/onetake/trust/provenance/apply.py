"""The marks of one take: in its frames, in its file and beside it, as the policy says."""

import io
import json
import logging
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image

from onetake.jobs.plan import Plan
from onetake.jobs.response import Marks
from onetake.media.frames import FrameBatch, FrameStream
from onetake.runtime.errors import SettingsError
from onetake.trust.policy import VARIABLE, Policy
from onetake.trust.provenance.c2pa_manifest import FORMATS, SOURCE_TYPE, Ingredient, sign
from onetake.trust.provenance.certificate import Signature, read_signature, trial_signature
from onetake.trust.provenance.invisible import InvisibleMark
from onetake.trust.provenance.label import Label

log = logging.getLogger("onetake")


def signature_of(policy: Policy) -> Signature | None:
    """The certificate and key that sign C2PA manifests; None if the policy wants no manifests.

    Raises:
        SettingsError: the operator's certificate or key cannot be used.
    """
    marks = policy.marks
    if not marks.c2pa:
        return None
    if marks.certificate is None or marks.private_key is None:
        log.warning("C2PA manifests are signed with a test certificate, which proves nothing")
        return trial_signature()
    try:
        return read_signature(marks.certificate, marks.private_key)
    except (OSError, ValueError, TypeError) as error:
        problem = "marks.certificate and marks.private_key cannot be used"
        raise SettingsError(VARIABLE, problem, detail=str(error)) from error


class Marking:
    """The marks of one take."""

    def __init__(
        self, policy: Policy, signature: Signature | None, plan: Plan, revision: str,
        short_id: int | None,
    ) -> None:  # fmt: skip
        """``short_id`` has 32 bits; None: no invisible mark."""
        marks = self._marks = policy.marks
        self._signature = signature
        self._applied: list[str] = []
        self.notes: list[str] = []
        self._frame_marks: list[Callable[[FrameBatch], FrameBatch]] = []
        if marks.label or marks.logo:
            label = Label(plan.size, words=marks.label, logo=marks.logo)
            self._frame_marks.append(label.over)
            self._applied.append("label")
        if short_id is not None:
            self._frame_marks.append(InvisibleMark(short_id, plan.size).embed)
            self._applied.append("invisible")
        self._facts: dict[str, Any] = {
            "model": plan.model,
            "revision": revision,
            "profile": plan.profile,
            "seed": plan.seed,
            "num_frames": plan.num_frames,
            "segments": [
                {"num_frames": s.num_frames, "overlap_frames": s.overlap_frames, "seed": s.seed}
                for s in plan.segments
            ],
        }
        if short_id is not None:
            self._facts["short_id"] = f"{short_id:08x}"

    @property
    def metadata(self) -> dict[str, str]:
        """What the encoder writes into the file; it holds nothing of the prompt."""
        if not self._marks.metadata:
            return {}
        facts = self._described()
        del facts["segments"]
        return {"comment": json.dumps(facts), "description": "AI-generated video"}

    def over(self, frames: FrameStream) -> FrameStream:
        """The frames with the visible and the invisible mark in them."""
        for batch in frames:
            marked = batch
            for mark in self._frame_marks:
                marked = mark(marked)
            yield marked

    def finish(self, video: Path, sidecar: Path, ingredients: list[Ingredient]) -> None:
        """Write the sidecar, then sign the finished file.

        A mark that fails is noted; the take is not lost.
        """
        if self._marks.metadata:
            self._applied.append("metadata")
        if self._marks.sidecar:
            text = json.dumps(self._described(), indent=1)
            self._try("sidecar", lambda: sidecar.write_text(text))
        if (signature := self._signature) is None:
            return
        if video.suffix[1:] not in FORMATS:
            self.notes.append(f"a {video.suffix[1:]} carries no C2PA manifest; ask for mp4")
            return
        timestamp_url = self._marks.timestamp_url
        self._try("c2pa", lambda: sign(video, self._facts, ingredients, signature, timestamp_url))

    def _described(self) -> dict[str, Any]:
        """The facts, with the words that say that the take is generated."""
        return {"generator": "Onetake", "digitalSourceType": SOURCE_TYPE, **self._facts}

    def _try(self, mark: str, apply: Callable[[], object]) -> None:
        try:
            apply()
        except (OSError, ValueError):
            log.exception("%s failed", mark)
            self.notes.append(f"the worker could not apply the mark {mark}")
        else:
            self._applied.append(mark)

    def summary(self, *, beside: bool) -> Marks:
        """The marks in the answer; ``beside``: files beside the video are delivered too."""
        applied = sorted(mark for mark in self._applied if beside or mark != "sidecar")
        signer = "operator" if self._marks.certificate else "test"
        return Marks(
            applied=applied,
            short_id=self._facts.get("short_id"),
            certificate=signer if "c2pa" in applied else None,
        )


def draw_short_id(policy: Policy) -> int | None:
    """A random id of 32 bits for a take and its parts; None if the policy wants no such mark."""
    return secrets.randbits(32) if policy.marks.invisible else None


def picture_ingredient(title: str, frame: FrameBatch) -> Ingredient:
    """A picture as the take used it, uint8 RGB (height, width, 3)."""
    content = io.BytesIO()
    Image.fromarray(frame).save(content, "PNG")
    return Ingredient(title, "image/png", content.getvalue())
