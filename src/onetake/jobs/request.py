"""What may be asked.

A job's fields carry diffusers' names. Every field of RunPod's public Wan endpoints is taken with
its meaning, and `SYNONYMS` adds the names that local video APIs commonly use.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, NamedTuple, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from onetake.jobs.limits import (
    JOB_ID,
    MAX_PARTS,
    MAX_PROMPT,
    MAX_SEED,
    MAX_SIDE,
    MAX_STORYBOARD,
    MIN_SIDE,
    SIZE,
    nearest_side,
)
from onetake.jobs.refusals import refuse, refuse_unknown
from onetake.media.fetch import InputKind
from onetake.media.formats import VideoFormat
from onetake.runtime.errors import JobError

Resolution = Literal["480p", "720p", "1080p"]
AspectRatio = Literal["16:9", "9:16", "1:1", "4:3", "3:4", "21:9", "9:21"]
Prompt = Annotated[str, Field(max_length=MAX_PROMPT)]
Side = Annotated[int, Field(ge=MIN_SIDE, le=MAX_SIDE, multiple_of=2)]
Seed = Annotated[int, Field(ge=-1, le=MAX_SEED)]
Duration = Annotated[float, Field(ge=0.1)]  # seconds; the operator's `max_duration` bounds it
Picture = Annotated[str | None, InputKind("picture")]
Clip = Annotated[str | None, InputKind("clip")]
Transition = Literal["continuous", "cut"]

SYNONYMS = {
    "guidance": "guidance_scale",
    "cfg_scale": "guidance_scale",
    "steps": "num_inference_steps",
    "input_image": "image",
    "image_url": "image",
}


class Input(NamedTuple):
    """Something that a job brings."""

    field: str
    kind: str  # a row of onetake.media.fetch
    source: str


class Fields(BaseModel):
    """A group of a request's fields. Nothing is converted, nothing unknown is taken."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class Output(VideoFormat):
    """How the result is written and handed over."""

    delivery: Literal["url", "base64"] = Field(
        "url", description="A link, or the file itself in the answer while it is small"
    )


class SegmentRequest(Fields):
    """One part of a storyboard."""

    prompt: Prompt
    duration: Duration
    seed: Seed = -1
    transition: Transition | None = None


class ContentFields(Fields):
    """What the take shows."""

    prompt: Prompt = Field("", description="What the take shows")
    negative_prompt: Prompt = Field("", description="What it must not show")
    image: Picture = Field(
        None,
        min_length=1,
        description="First frame: https URL, data URI, base64, or a file of the worker's volume",
    )
    last_image: Picture = Field(None, min_length=1, description="Frame to end on")
    loop: bool = Field(default=False, description="End where it began, to be shown over and over")
    video: Clip = Field(
        None, min_length=1, description="A clip to extend, at its own size and rate"
    )
    segments: list[SegmentRequest] | None = Field(
        None,
        min_length=1,
        max_length=MAX_PARTS,
        description="A storyboard: `prompt`, `duration`, `seed` and `transition` of each part",
    )
    transition: Transition = Field(
        "continuous", description="How parts follow each other, unless one says otherwise"
    )


class ShapeFields(Fields):
    """How large, how long and how fast it is delivered."""

    size: str | None = Field(None, pattern=SIZE, description='Delivered size, "1280*720"')
    width: Side | None = Field(None, description="Delivered width")
    height: Side | None = Field(None, description="Delivered height")
    resolution: Resolution | None = Field(None, description="Short side, with `aspect_ratio`")
    aspect_ratio: AspectRatio | None = Field(None, description="Ratio, with `resolution` or alone")
    duration: Duration | None = Field(
        None, description="Seconds, with `video` those added; 5 unless something says otherwise"
    )
    num_frames: int | None = Field(
        None, ge=1, description="Delivered frames, with `video` those added, instead of duration"
    )
    fps: float | None = Field(
        None, ge=1, le=60, description="Delivered rate; the model's by default"
    )


class SamplingFields(Fields):
    """How the model is run, and how its segments are chained."""

    num_inference_steps: int | None = Field(
        None, ge=1, le=100, description="Denoising steps; the model's by default"
    )
    guidance_scale: float | None = Field(
        None, ge=0, le=20, description="CFG; 1 or less turns it off"
    )
    flow_shift: float | None = Field(
        None, ge=0.1, le=20, description="Higher: more steps for the coarse; the model's by default"
    )
    seed: Seed = Field(-1, description="-1: one is drawn and reported")
    overlap_frames: int | None = Field(
        None, ge=1, description="Frames that each further segment continues from"
    )
    retries: int | None = Field(
        None, ge=0, le=3, description="Times that a segment with a bad seam is made again, at most"
    )
    colour_match: float | None = Field(
        None, ge=0, le=1, description="How far colours are drawn back to the first segment's"
    )
    history_noise: float | None = Field(
        None, ge=0, le=0.5, description="Noise on what a further segment continues from"
    )
    resume: str | None = Field(
        None,
        pattern=JOB_ID,
        description="The id of a job of the same fields that failed after whole segments",
    )
    model: str | None = Field(None, description="A name from the model table")
    profile: str | None = Field(None, description="A name from the profile table")


class DeliveryFields(Fields):
    """How the result is delivered, and which extra steps run."""

    output: Output = Field(
        Output(), description="`container`, `codec`, `quality`, and `delivery` (a URL or base64)"
    )
    partial_results: bool = Field(
        default=False, description="Send each finished segment's link with the progress"
    )
    enable_prompt_optimization: bool = Field(
        default=False, description="Add missing subject, camera, light and style words"
    )
    enable_safety_checker: bool = Field(
        default=True, description="Check prompts and pictures, as the worker's policy has it"
    )


# The fields stand in the order of these groups, the last one first: pydantic's way.
class Job(DeliveryFields, SamplingFields, ShapeFields, ContentFields):
    """One request. A prompt, an image or both; everything else has a default."""

    @classmethod
    def parse(cls, request: object) -> Self:
        """Read a request as JSON gave it; ``null`` is the same as leaving a field out.

        Raises:
            JobError: names the first wrong field and the nearest legal value.
        """
        if not isinstance(request, Mapping):
            raise JobError("input", 'is not an object; write {"input": {"prompt": "..."}}')
        sent = {str(name): value for name, value in request.items() if value is not None}
        job = None
        try:
            job = cls.model_validate(cls._by_own_names(sent))
        except ValidationError as error:
            problem = error.errors(include_url=False)[0]
        if job is None:  # out of the handler: pydantic's own error quotes the request
            sent_as = {SYNONYMS[name]: name for name in sent if name in SYNONYMS}
            parts = {"output": Output.model_fields, "segments": SegmentRequest.model_fields}
            refuse(problem, sent_as, parts)
        job.check_together()
        return job

    @classmethod
    def _by_own_names(cls, sent: dict[str, Any]) -> dict[str, Any]:
        """The fields without synonyms."""
        named: dict[str, Any] = {}
        for name, value in sent.items():
            own = SYNONYMS.get(name, name)
            if own not in cls.model_fields:
                refuse_unknown(name, [*cls.model_fields, *SYNONYMS])
            if own in named:
                raise JobError(name, f"says the same as another field; keep {own} alone")
            named[own] = value
        return named

    def check_together(self) -> None:
        """Refuse fields that contradict each other.

        Raises:
            JobError: names one of them.
        """
        if not (self.prompt.strip() or self.image or self.video or self.segments):
            raise JobError("prompt", "is empty; say what the take shows, or give an image")
        self._check_segments()
        for name in ("last_image", "video"):
            if self.loop and getattr(self, name) is not None:
                raise JobError("loop", f"ends the take on its own first frame; leave {name} out")
        self._check_size()
        for name in ("image", "size", "width", "resolution", "aspect_ratio", "fps"):
            if self.video and getattr(self, name) is not None:
                raise JobError(name, "is the video's own when one is extended; leave it out")
        if self.output.container == "webm" and self.output.codec != "av1":
            raise JobError("output.codec", "a webm holds av1 only; ask for av1 or for mp4")
        if self.output.container == "mov" and self.output.codec == "av1":
            raise JobError("output.codec", "a mov holds h264 or hevc; ask for one, or for mp4")

    def inputs(self) -> Iterator[Input]:
        """Everything that must be fetched, in the order of the fields."""
        for name, field in type(self).model_fields.items():
            for mark in field.metadata:
                if isinstance(mark, InputKind) and (source := getattr(self, name)):
                    yield Input(name, mark.name, source)

    def _check_segments(self) -> None:
        characters = sum(len(self.prompt) + len(part.prompt) for part in self.segments or ())
        if characters > MAX_STORYBOARD:
            problem = f"have {characters:,} characters, each with the prompt; at most"
            raise JobError("segments", f"{problem} {MAX_STORYBOARD:,} are legal")
        for name in ("duration", "num_frames"):
            if self.segments and getattr(self, name) is not None:
                raise JobError(
                    name, "is what the durations of the segments add up to; leave it out"
                )

    def _check_size(self) -> None:
        choices = {
            "size": self.size,
            "width and height": self.width or self.height,
            "resolution or aspect_ratio": self.resolution or self.aspect_ratio,
        }
        ways = [name for name, value in choices.items() if value]
        if len(ways) > 1:
            raise JobError("size", f"is given twice, by {' and by '.join(ways)}; keep one of them")
        for name, other in (("width", "height"), ("height", "width")):
            if getattr(self, name) and not getattr(self, other):
                raise JobError(other, f"is missing; {name} needs it, or use size, such as 1280*720")
        if self.size:
            for name, side in zip(("width", "height"), self.sides_of_size(), strict=True):
                _check_side(name, side)

    def sides_of_size(self) -> tuple[int, int]:
        """(width, height) of ``size``, which must be set."""
        width, _, height = str(self.size).lower().replace("x", "*").partition("*")
        return int(width), int(height)


def _check_side(name: str, side: int) -> None:
    nearest = nearest_side(side)
    if side != nearest:
        raise JobError(
            "size",
            f"{name} {side} is not an even number from {MIN_SIDE} to {MAX_SIDE}; "
            f"the nearest legal value is {nearest}",
        )


def digest(request: object) -> str:
    """A mark of a request as JSON gave it, which tells none of its words."""
    return hashlib.sha256(json.dumps(request, sort_keys=True).encode()).hexdigest()


def schema(job: type[Job] = Job) -> dict[str, Any]:
    """JSON Schema (2020-12) of a job, synonyms included."""
    described = job.model_json_schema()
    for synonym, name in SYNONYMS.items():
        described["properties"][synonym] = {
            **described["properties"][name],
            "description": f"The same as `{name}`",
        }
    # `null` means "left out" for every field.
    for field in described["properties"].values():
        choices = field.setdefault("anyOf", [{key: field.pop(key) for key in _RULES & {*field}}])
        if {"type": "null"} not in choices:
            choices.append({"type": "null"})
    return described


_RULES = frozenset(
    {"type", "enum", "minimum", "maximum", "multipleOf", "minLength", "maxLength", "$ref"}
)
