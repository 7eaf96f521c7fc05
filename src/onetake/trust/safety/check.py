"""The policy's categories applied to one job: to its prompts, its pictures and its frames."""

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
_ALWAYS_CHECKED = "minors"  # also when a request turns the checks off
_CHECKS_OFF = Safety(checked=False, reason="the request turned the checks off")
_CATEGORY_NAMES = {
    "sexual": "sexual content", "minors": "sexualised minors", "violence": "graphic violence",
    "hate": "hate", "self_harm": "self-harm", "real_persons": "a real person",
    "brands": "a protected brand",
}  # fmt: skip


class Safeguard:
    """The checks of one job: its prompts first, then its pictures, then frames as they come."""

    def __init__(self, policy: Policy, job: Job) -> None:
        """Check the prompts, but not ``negative_prompt``: it says what not to show.

        Raises:
            JobError: a prompt is blocked (``unsafe_prompt``).
        """
        self._policy = policy
        self._on = job.enable_safety_checker or not policy.optional
        self._flagged: dict[str, None] = {}  # a set that keeps its order
        self._pictures = 0
        self._watch: Watch | None = None
        prompts = {"prompt": job.prompt}
        for number, segment in enumerate(job.segments or []):
            text = f"{job.prompt}, {segment.prompt}".strip(", ")
            prompts[f"segments.{number}.prompt"] = text
        for field, text in prompts.items():
            for category in categories_of(text, policy):
                if self._on or category == _ALWAYS_CHECKED:
                    self._flag_or_block(field, category, "unsafe_prompt")

    def look_at(self, field: str, frame: FrameBatch) -> None:
        """Check an input picture, uint8 RGB (height, width, 3).

        Raises:
            JobError: the picture is blocked (``unsafe_image``).
        """
        if self._on:
            self._pictures += 1
            if nudity(frame) >= self._policy.frames:
                self._flag_or_block(field, "sexual", "unsafe_image")

    def watch(self, plan: Plan) -> Watch:
        """A watch over one frame of every second, those of every seam, and the last one."""
        seconds = (round(second * plan.fps) for second in range(int(plan.duration) + 1))
        numbers = {*seconds, *plan.seam_frames(), plan.num_frames - 1}
        self._watch = Watch(numbers if self._on else ())
        return self._watch

    def clean(self) -> bool:
        """Whether nothing that was seen so far has to be kept back."""
        if self._flagged:
            return False
        return self._policy.categories.sexual == "allow" or not self._shows_nudity()

    def verdict(self) -> Safety:
        """The part of the answer that tells what was checked, once all frames have passed.

        Raises:
            JobError: the frames are blocked (``unsafe_result``).
        """
        if not self._on:
            return _CHECKS_OFF
        reason, unseen = "prompts by words and meaning, pictures for nudity", False
        try:
            if self._shows_nudity():
                self._flag_or_block("prompt", "sexual", "unsafe_result")
        except RuntimeError:  # the classifier failed: a person has to look at the take
            log.exception("frames could not be looked at")
            reason, unseen = "frames could not be looked at", True
        return Safety(
            checked=True,
            reason=reason,
            verdict="flagged" if self._flagged or unseen else "passed",
            categories=list(self._flagged),
            pictures=self._pictures + (self._watch.count if self._watch else 0),
        )

    def _shows_nudity(self) -> bool:
        """Whether a frame that was seen so far does.

        Raises:
            RuntimeError: a frame could not be looked at.
        """
        return self._watch is not None and self._watch.highest() >= self._policy.frames

    def _flag_or_block(self, field: str, category: str, code: str) -> None:
        """Do what the policy says about a category that was recognised.

        Raises:
            JobError: the policy blocks it.
        """
        action = self._policy.categories.action(category)
        if action == "flag":
            self._flagged[category] = None
        if action != "block":
            return
        content = _CATEGORY_NAMES[category]
        sentence = {
            "unsafe_prompt": f"asks for {content}, which this worker does not make; change it",
            "unsafe_image": f"shows {content}, which this worker does not take; send another one",
            "unsafe_result": f"led to {content}, so the take is not given out; "
            "change it or the seed",
        }[code]
        raise JobError(field, sentence, code=code)
