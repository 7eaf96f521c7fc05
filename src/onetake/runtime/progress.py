"""How far a job is."""

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class PartLink:
    """The link of a finished segment while the take is still being made."""

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
    seconds_left: float  # of generating, at the pace so far
    parts: tuple[PartLink, ...] = ()

    def summary(self) -> dict[str, Any]:
        """The fields as JSON; ``parts`` only if there are any."""
        fields = asdict(self)
        fields["fraction"] = round(self.fraction, 3)
        fields["seconds_left"] = round(self.seconds_left)
        if not self.parts:
            del fields["parts"]
        return fields
