"""A clip that a job brings."""

from dataclasses import dataclass
from pathlib import Path

from onetake.media.fetch import MIN_SIDE
from onetake.media.fetch.source import Expected, read_source
from onetake.media.probe import MediaError, VideoFacts, probe_video
from onetake.runtime.errors import JobError
from onetake.runtime.settings import Settings

DESCRIPTION = "an MP4, MOV or WebM video"
MAX_BYTES = 256 << 20
MAX_SIDE = 4096  # pixels
MAX_SECONDS = 600.0
MAX_FPS = 120


@dataclass(frozen=True)
class Clip:
    """A video file and what it holds."""

    file: Path
    facts: VideoFacts


def load(source: str, field: str, settings: Settings, folder: Path) -> Clip:
    """The clip that ``source`` names, as a file in ``folder``.

    Raises:
        JobError: it cannot be fetched, is no video of a known kind, is damaged, or is too large.
    """
    file = folder / field
    file.write_bytes(read_source(source, Expected(field, DESCRIPTION, MAX_BYTES), settings))
    try:
        facts = probe_video(file)
    except MediaError as error:
        raise JobError(field, f"is {error}; give {DESCRIPTION}") from None
    _check_limits(facts, field)
    return Clip(file, facts)


def _check_limits(facts: VideoFacts, field: str) -> None:
    if max(facts.width, facts.height) > MAX_SIDE or min(facts.width, facts.height) < MIN_SIDE:
        problem = f"has {facts.width}x{facts.height} pixels; {MIN_SIDE} to {MAX_SIDE} a side"
        raise JobError(field, f"{problem} are legal")
    if facts.fps > MAX_FPS:
        problem = f"has {float(facts.fps):g} frames a second; at most {MAX_FPS} are legal"
        raise JobError(field, problem)
    if facts.duration > MAX_SECONDS:
        problem = f"lasts {facts.duration:.0f} s; at most {MAX_SECONDS:g} s are legal"
        raise JobError(field, problem)
