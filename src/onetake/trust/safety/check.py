"""What a job may not ask, and what may not leave: the policy's categories applied to one job."""

import logging

from onetake.jobs.plan import Plan
from onetake.jobs.request import Job
from onetake.jobs.response import Safety
from onetake.media.frames import FrameBatch
from onetake.runtime.errors import JobError
from onetake.trust.policy import Policy
from onetake.trust.safety.pictures import Watch, nudity
from onetake.trust.safety.prompts import categories_of

log = logging.getLogger("onetake")

BLOCKED = ("unsafe_prompt", "unsafe_image", "unsafe_result")  # codes of errors
_ALWAYS = "minors"  # looked for whatever a request says
_ASKED_OFF = Safety(checked=False, reason="the request turned the checks off")
_NAMES = {
    "sexual": "sexual content", "minors": "sexualised minors", "violence": "graphic violence",
    "hate": "hate", "self_harm": "self-harm", "real_persons": "a real person",
    "brands": "a protected brand",
}  # fmt: skip


class Safeguard:
    """One job's checks: the prompts first, then its pictures, then frames while they are made."""

    def __init__(self, policy: Policy, job: Job) -> None:
        """Check the prompts. What a caller does not want to see (``negative_prompt``) is free.

        Raises:
            JobError: one of them is blocked (``unsafe_prompt``).
        """
        self._policy = policy
        self.on = job.enable_safety_checker or not policy.optional
        self._flagged: dict[str, None] = {}
        self._pictures = 0
        self._watch: Watch | None = None
        texts = {"prompt": job.prompt}
        for number, part in enumerate(job.segments or []):
            texts[f"segments.{number}.prompt"] = f"{job.prompt}, {part.prompt}".strip(", ")
        for field, text in texts.items():
            for category in categories_of(text, policy):
                if self.on or category == _ALWAYS:
                    self._found(field, category, "unsafe_prompt")

    def look_at(self, field: str, frame: FrameBatch) -> None:
        """Check an input, uint8 RGB (height, width, 3).

        Raises:
            JobError: it is blocked (``unsafe_image``).
        """
        if self.on:
            self._pictures += 1
            if nudity(frame) >= self._policy.frames:
                self._found(field, "sexual", "unsafe_image")

    def watch(self, plan: Plan) -> Watch:
        """Of every second a frame, of every seam, and the last."""
        seconds = (round(second * plan.fps) for second in range(int(plan.duration) + 1))
        at = {*seconds, *plan.seam_frames(), plan.num_frames - 1}
        self._watch = Watch(at if self.on else ())
        return self._watch

    def clean(self) -> bool:
        """Whether all that was seen so far may leave."""
        return not self._flagged and (self._policy.categories.sexual == "allow" or not self._nude())

    def verdict(self) -> Safety:
        """What to answer of a take that is made.

        Raises:
            JobError: its frames are blocked (``unsafe_result``).
        """
        if not self.on:
            return _ASKED_OFF
        reason, unseen = "prompts by words and meaning, pictures for nudity", False
        try:
            if self._nude():
                self._found("prompt", "sexual", "unsafe_result")
        except RuntimeError:  # of the classifier: the take waits for somebody who looks
            log.exception("frames could not be looked at")
            reason, unseen = "frames could not be looked at", True
        return Safety(
            checked=True,
            reason=reason,
            verdict="flagged" if self._flagged or unseen else "passed",
            categories=list(self._flagged),
            pictures=self._pictures + (self._watch.count if self._watch else 0),
        )

    def _nude(self) -> bool:
        """Whether a frame that was seen so far is.

        Raises:
            RuntimeError: one could not be looked at.
        """
        return self._watch is not None and self._watch.highest() >= self._policy.frames

    def _found(self, field: str, category: str, code: str) -> None:
        action = self._policy.categories.action(category)
        if action == "flag":
            self._flagged[category] = None
        if action != "block":
            return
        what = _NAMES[category]
        sentence = {
            "unsafe_prompt": f"asks for {what}, which this worker does not make; change it",
            "unsafe_image": f"shows {what}, which this worker does not take; send another one",
            "unsafe_result": f"led to {what}, so the take is not given out; change it or the seed",
        }[code]
        raise JobError(field, sentence, code=code)
