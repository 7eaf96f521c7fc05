"""How one take is marked: over its frames, in its file, beside it. The policy says with what."""

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
    """What manifests are signed with; None if there are none.

    Raises:
        SettingsError: the operator's certificate or its key cannot be used.
    """
    marks = policy.marks
    if not marks.c2pa:
        return None
    if marks.certificate is None or marks.private_key is None:
        log.warning("C2PA manifests are signed with a test certificate, which proves nothing")
        return trial_signature()
    try:
        return read_signature(marks.certificate, marks.private_key)
    except (OSError, ValueError, TypeError, IndexError) as error:
        problem = "marks.certificate and marks.private_key cannot be used"
        raise SettingsError(VARIABLE, problem, detail=str(error)) from error


class Marking:
    """The marks of one take."""

    def __init__(
        self, policy: Policy, signature: Signature | None, plan: Plan, revision: str,
        short_id: int | None,
    ) -> None:  # fmt: skip
        """``short_id`` has 32 bits; None: there is no invisible mark."""
        self._marks, self._signature = policy.marks, signature
        self._applied: list[str] = []
        self.notes: list[str] = []
        marks, self.short_id = self._marks, short_id
        self._over = []
        if marks.label or marks.logo:
            self._over.append(Label(plan.size, words=marks.label, logo=marks.logo).over)
            self._applied.append("label")
        if self.short_id is not None:
            self._over.append(InvisibleMark(self.short_id, plan.size).embed)
            self._applied.append("invisible")
        self.facts: dict[str, Any] = {
            "model": plan.model,
            "revision": revision,
            "profile": plan.profile,
            "seed": plan.seed,
            "num_frames": plan.num_frames,
            "segments": [
                {"num_frames": s.num_frames, "overlap_frames": s.overlap_frames, "seed": s.seed}
                for s in plan.segments
            ],
            **({"short_id": f"{self.short_id:08x}"} if self.short_id is not None else {}),
        }

    @property
    def metadata(self) -> dict[str, str]:
        """What the encoder writes into the file; nothing of the prompt."""
        if not self._marks.metadata:
            return {}
        about = {"generator": "Onetake", "digitalSourceType": SOURCE_TYPE, **self.facts}
        del about["segments"]
        return {"comment": json.dumps(about), "description": "AI-generated video"}

    def over(self, frames: FrameStream) -> FrameStream:
        """The frames with what is seen, or not seen, in them."""
        for batch in frames:
            marked: FrameBatch = batch
            for mark in self._over:
                marked = mark(marked)
            yield marked

    def finish(self, video: Path, sidecar: Path, ingredients: list[Ingredient]) -> None:
        """Write the sidecar, and sign the written file, last of all.

        What fails is noted: a finished take is not lost for it.
        """
        if self._marks.metadata:
            self._applied.append("metadata")
        if self._marks.sidecar:
            about = {"generator": "Onetake", "digitalSourceType": SOURCE_TYPE, **self.facts}
            self._try("sidecar", lambda: sidecar.write_text(json.dumps(about, indent=1)))
        if (signature := self._signature) is None:
            return
        if video.suffix[1:] not in FORMATS:
            self.notes.append(f"a {video.suffix[1:]} carries no C2PA manifest; ask for mp4")
            return
        dated_by = self._marks.timestamp_url
        self._try("c2pa", lambda: sign(video, self.facts, ingredients, signature, dated_by))

    def _try(self, mark: str, apply: Callable[[], object]) -> None:
        try:
            apply()
        except (OSError, ValueError):
            log.exception("%s failed", mark)
            self.notes.append(f"the worker could not apply the mark {mark}")
        else:
            self._applied.append(mark)

    def summary(self, *, beside: bool) -> Marks:
        """For the answer; ``beside``: whether files beside the video are delivered."""
        applied = sorted(mark for mark in self._applied if beside or mark != "sidecar")
        signed = "c2pa" in applied
        who = "operator" if self._marks.certificate else "test"
        return Marks(
            applied=applied,
            short_id=self.facts.get("short_id"),
            certificate=who if signed else None,
        )


def draw_short_id(policy: Policy) -> int | None:
    """32 bits for the frames of a take and of its parts; None if they are not marked."""
    return secrets.randbits(32) if policy.marks.invisible else None


def picture_ingredient(title: str, frame: FrameBatch) -> Ingredient:
    """A picture as it was used, uint8 RGB (height, width, 3)."""
    written = io.BytesIO()
    Image.fromarray(frame).save(written, "PNG")
    return Ingredient(title, "image/png", written.getvalue())
