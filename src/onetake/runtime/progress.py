"""How far a job is."""

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class PartLink:
    """A finished segment of a take that is still being made."""

    segment: int
    video_url: str


@dataclass(frozen=True)
class Progress:
    """How far a job is; segments and steps count from 1."""

    stage: str
    segment: int
    segments: int
    step: int
    steps: int
    fraction: float  # of all generating, 0 to 1
    seconds_left: float  # of generating, as the pace so far says
    parts: tuple[PartLink, ...] = ()

    def summary(self) -> dict[str, Any]:
        """For JSON."""
        told = asdict(self)
        told["fraction"], told["seconds_left"] = round(self.fraction, 3), round(self.seconds_left)
        if not self.parts:
            del told["parts"]
        return told
