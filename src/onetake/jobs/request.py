"""What may be asked.

A job's fields carry diffusers' names. Every field of RunPod's public Wan endpoints is taken with
its meaning, and `SYNONYMS` adds the names that local video APIs commonly use.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails

from onetake.runtime.errors import JobError
from onetake.runtime.wording import nearest_name, shown

MAX_PROMPT = 2000  # characters; the text encoder reads 512 tokens
MAX_STORYBOARD = 16_000  # characters of all parts: each hundred cost the check 50 to 150 ms
MIN_SIDE, MAX_SIDE = 64, 2560
MAX_SEED = 2**53 - 1  # the largest that survives JSON in every client

Resolution = Literal["480p", "720p", "1080p"]
AspectRatio = Literal["16:9", "9:16", "1:1", "4:3", "3:4", "21:9", "9:21"]
Prompt = Annotated[str, Field(max_length=MAX_PROMPT)]
Side = Annotated[int, Field(ge=MIN_SIDE, le=MAX_SIDE, multiple_of=2)]
Seed = Annotated[int, Field(ge=-1, le=MAX_SEED)]
Duration = Annotated[float, Field(ge=0.1)]  # seconds; the operator's `max_duration` bounds it

Transition = Literal["continuous", "cut"]
_JOB_ID = r"^[A-Za-z0-9_-]{1,96}$"

SYNONYMS = {
    "guidance": "guidance_scale",
    "cfg_scale": "guidance_scale",
    "steps": "num_inference_steps",
    "input_image": "image",
    "image_url": "image",
}


class _Asked(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class Output(_Asked):
    """How the result is written and handed over."""

    container: Literal["mp4", "mov", "webm"] = "mp4"
    codec: Literal["h264", "hevc", "av1"] = "h264"
    quality: Literal["draft", "standard", "high"] = "standard"
    delivery: Literal["url", "base64"] = Field(
        "url", description="A link, or the file itself in the answer while it is small"
    )


class SegmentRequest(_Asked):
    """One part of a storyboard."""

    prompt: Prompt
    duration: Duration
    seed: Seed = -1
    transition: Transition | None = None


class Job(_Asked):
    """One request. A prompt, an image or both; everything else has a default."""

    prompt: Prompt = Field("", description="What the take shows")
    negative_prompt: Prompt = Field("", description="What it must not show")
    image: str | None = Field(
        None,
        min_length=1,
        description="First frame: https URL, data URI, base64, or a file of the worker's volume",
    )
    last_image: str | None = Field(None, min_length=1, description="Frame to end on")
    loop: bool = Field(default=False, description="End where it began, to be shown over and over")
    video: str | None = Field(
        None, min_length=1, description="A clip to extend, at its own size and rate"
    )
    segments: list[SegmentRequest] | None = Field(
        None,
        min_length=1,
        max_length=64,
        description="A storyboard: `prompt`, `duration`, `seed` and `transition` of each part",
    )
    transition: Transition = Field(
        "continuous", description="How parts follow each other, unless one says otherwise"
    )

    size: str | None = Field(
        None, pattern=r"^\d{2,4}[*xX]\d{2,4}$", description='Delivered size, "1280*720"'
    )
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
        pattern=_JOB_ID,
        description="The id of a job of the same fields that failed after whole segments",
    )
    model: str | None = Field(None, description="A name from the model table")
    profile: str | None = Field(None, description="A name from the profile table")
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

    @classmethod
    def parse(cls, asked: object) -> Self:
        """Read a request as JSON gave it; ``null`` is the same as leaving a field out.

        Raises:
            JobError: names the first wrong field and the nearest legal value.
        """
        if not isinstance(asked, Mapping):
            raise JobError("input", 'is not an object; write {"input": {"prompt": "..."}}')
        given = {str(name): value for name, value in asked.items() if value is not None}
        try:
            job = cls.model_validate(_canonical(given))
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            asked_as = {SYNONYMS[name]: name for name in given if name in SYNONYMS}
            raise _explain(first, asked_as) from None
        job.check_together()
        return job

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

    @property
    def names_inputs(self) -> bool:
        """Whether something must be fetched."""
        return bool(self.image or self.last_image or self.video)

    def _check_segments(self) -> None:
        told = sum(len(self.prompt) + len(part.prompt) for part in self.segments or ())
        if told > MAX_STORYBOARD:
            problem = f"have {told:,} characters, each with the prompt; at most"
            raise JobError("segments", f"{problem} {MAX_STORYBOARD:,} are legal")
        for name in ("duration", "num_frames"):
            if self.segments and getattr(self, name) is not None:
                raise JobError(
                    name, "is what the durations of the segments add up to; leave it out"
                )

    def _check_size(self) -> None:
        ways = [
            name
            for name, given in {
                "size": self.size,
                "width and height": self.width or self.height,
                "resolution or aspect_ratio": self.resolution or self.aspect_ratio,
            }.items()
            if given
        ]
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


def _nearest_side(side: int) -> int:
    return min(max(side - side % 2, MIN_SIDE), MAX_SIDE)


def _check_side(name: str, side: int) -> None:
    nearest = _nearest_side(side)
    if side != nearest:
        raise JobError(
            "size",
            f"{name} {side} is not an even number from {MIN_SIDE} to {MAX_SIDE}; "
            f"the nearest legal value is {nearest}",
        )


def _canonical(given: dict[str, Any]) -> dict[str, Any]:
    named: dict[str, Any] = {}
    for name, value in given.items():
        canonical = SYNONYMS.get(name, name)
        if canonical not in Job.model_fields:
            raise _unknown(name, [*Job.model_fields, *SYNONYMS])
        if canonical in named:
            raise JobError(name, f"says the same as another field; keep {canonical} alone")
        named[canonical] = value
    return named


# For each of pydantic's error types, a sentence on the value that was sent.
_PROBLEMS: dict[str, Callable[[Any, dict[str, Any]], str]] = {
    "int_type": lambda value, _: f"{shown(value)} is not a whole number, such as 5",
    "float_type": lambda value, _: f"{shown(value)} is not a number, such as 5",
    "finite_number": lambda value, _: f"{shown(value)} is not a number, such as 5",
    "string_type": lambda value, _: f'{shown(value)} is not text, such as "a red bottle"',
    "bool_type": lambda value, _: f"{shown(value)} is neither true nor false",
    "list_type": lambda value, _: f"{shown(value)} is not a list, such as []",
    "model_type": lambda value, _: f"{shown(value)} is not an object, such as {{}}",
    "greater_than_equal": lambda value, ctx: (
        f"{shown(value)} is too small; the nearest legal value is {ctx['ge']}"
    ),
    "less_than_equal": lambda value, ctx: (
        f"{shown(value)} is too large; the nearest legal value is {ctx['le']}"
    ),
    "multiple_of": lambda value, _: (
        f"{shown(value)} is odd; the nearest legal value is {_nearest_side(value)}"
    ),
    "literal_error": lambda value, ctx: _not_one_of(value, ctx["expected"]),
    "string_too_long": lambda value, ctx: (
        f"has {len(value):,} characters; the longest legal text has {ctx['max_length']:,}"
    ),
    "string_too_short": lambda _, __: "is empty; fill it or leave it out",
    "string_pattern_mismatch": lambda value, ctx: (
        f"{shown(value)} is no job id; send the one that was answered"
        if ctx["pattern"] == _JOB_ID
        else f"{shown(value)} is not width*height; write it like 1280*720"
    ),
    "too_short": lambda _, __: "is empty; fill it or leave it out",
    "too_long": lambda _, ctx: f"has too many items; at most {ctx['max_length']} are legal",
    "missing": lambda _, __: "is missing; every item of the list needs it",
}


def _not_one_of(value: object, expected: str) -> str:
    choices = [choice.strip(" '") for choice in expected.replace(" or ", ",").split(",")]
    return f"{shown(value)} is not one of {', '.join(choices)}{nearest_name(value, choices)}"


def _explain(error: ErrorDetails, asked_as: Mapping[str, str]) -> JobError:
    """One sentence for what pydantic found, in the words and names that the caller used."""
    loc, value = error["loc"], error["input"]
    field = ".".join(str(part) for part in loc)
    if error["type"] == "extra_forbidden":
        part = Output if loc[0] == "output" else SegmentRequest
        return _unknown(field, part.model_fields)
    describe = _PROBLEMS.get(error["type"])
    problem = describe(value, error.get("ctx", {})) if describe else f"{shown(value)} is not legal"
    return JobError(asked_as.get(field, field), problem)


def _unknown(field: str, known: Iterable[str]) -> JobError:
    """The refusal of a field that is not among the ``known`` ones of its place."""
    hint = nearest_name(field.rpartition(".")[2], known) or "; leave it out"
    return JobError(shown(field)[1:-1], f"is no field of a job{hint}", code="unknown_field")


def digest(asked: object) -> str:
    """A mark of a request as JSON gave it, which tells none of its words."""
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()


def schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of a job, synonyms included."""
    described = Job.model_json_schema()
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
