"""What the steps of one take share, and the one shape that all of them have."""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, Protocol

from onetake.delivery.answered_jobs import AnsweredJobs
from onetake.delivery.checkpoints import Checkpoints
from onetake.delivery.publish import PartSender, TakeFiles
from onetake.jobs.plan import Plan
from onetake.jobs.request import Job
from onetake.media.frames import FrameStream, SoundStream
from onetake.models.spec import VideoModel
from onetake.runtime.cancellation import Control
from onetake.runtime.gpu_meter import CardUse
from onetake.runtime.stopwatch import Stopwatch
from onetake.takes.worker import Worker
from onetake.trust.provenance.apply import Marking
from onetake.trust.safety.check import Safeguard


@dataclass
class TakeContext:
    """One job while it is made. The last three fields belong to one try at making it."""

    worker: Worker
    answered: AnsweredJobs
    name: str  # of the stored files
    request: object  # as JSON gave it
    job: Job
    plan: Plan
    model: VideoModel
    inputs: dict[str, Any]  # by request field, what its kind gives; not the chain's pictures
    files: TakeFiles
    checkpoints: Checkpoints
    clock: Stopwatch
    control: Control
    safeguard: Safeguard
    parts: PartSender
    card_use: Callable[[], CardUse | None]
    notes: list[str]  # for the answer
    marking: Marking
    meter: Any = None  # a SeamMeter, if the take has seams
    closing: ExitStack = field(default_factory=ExitStack)  # closed when the video is written


class Stage(Protocol):
    """One step of a take in progress."""

    def through(
        self, frames: FrameStream, sound: SoundStream | None
    ) -> tuple[FrameStream, SoundStream | None]:
        """Frames and sound, changed as they pass."""


@dataclass(frozen=True)
class FrameStage:
    """A stage that changes frames, and passes sound on as it is."""

    change: Callable[[FrameStream], FrameStream]

    def through(
        self, frames: FrameStream, sound: SoundStream | None
    ) -> tuple[FrameStream, SoundStream | None]:
        """See `Stage.through`."""
        return self.change(frames), sound
