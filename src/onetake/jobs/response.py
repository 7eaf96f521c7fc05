"""The answer to a job."""

from typing import Any, Literal

from pydantic import BaseModel, Field

from onetake.runtime.gpu_meter import CardUse


class Seam(BaseModel):
    """Where one segment hands over to the next."""

    at_frame: int = Field(description="The delivered frame that starts the later segment")
    at_seconds: float
    overlap_frames: int = Field(
        description="Frames that the later segment continued from; 0 is a cut"
    )
    tries: int = Field(1, description="How often the later segment was made; the best was taken")
    figures: dict[str, Any] | None = Field(
        None, description="What `onetake seams` measures there; null for a cut"
    )


class Safety(BaseModel):
    """What was checked, and the verdict."""

    checked: bool
    reason: str
    verdict: Literal["passed", "flagged", "approved", "rejected"] | None = Field(
        None, description="flagged: kept back until somebody approves it; null: not checked"
    )
    categories: list[str] = Field([], description="For which it was flagged")
    pictures: int = Field(0, description="Input images and frames that were looked at")


class Marks(BaseModel):
    """The marks in the take that say where it came from; `onetake verify` reads them."""

    applied: list[str] = Field(description="Of metadata, invisible, c2pa, label, sidecar")
    short_id: str | None = Field(None, description="What the invisible mark says, 8 hex digits")
    certificate: Literal["operator", "test"] | None = Field(
        None, description="Who signed the C2PA manifest; a test certificate proves nothing"
    )


class Delivered(BaseModel):
    """Where the take is, and what it is."""

    video_url: str | None
    result: str | None = Field(description="The same as `video_url`")
    video_base64: str | None = None
    poster_url: str | None
    cost: float = Field(description="Dollars: this job's seconds at the worker's price")
    seed: int
    prompt: str = Field(description="The prompt that was used")
    width: int
    height: int
    num_frames: int
    fps: float
    duration: float


class Account(BaseModel):
    """How the take was made and checked."""

    model: str
    revision: str
    profile: str
    tuning: dict[str, str] = Field(description="What the profile's techniques chose, and why")
    plan: dict[str, Any]
    seams: list[Seam]
    output: dict[str, str] = Field(description="Container, codec, encoder and its reason")
    safety: Safety
    marks: Marks
    timings: dict[str, float] = Field(description="Seconds of each stage, and `total`")
    memory: dict[str, float | None] = Field(
        description="GiB: the job's peaks, and what stays on the card after it"
    )
    card: CardUse | None = Field(None, description="Null without a card, or without its driver")
    notes: list[str] = Field(description="What the caller should know about this result")
    error: str | None = Field(
        None, description="Why the take ends early: a segment failed; the earlier ones are here"
    )


# The fields stand in the order of these groups, the last one first: pydantic's way.
class Result(Account, Delivered):
    """The answer to a job that succeeded."""
