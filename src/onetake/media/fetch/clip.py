"""A clip that a job gives."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from onetake.media.fetch.source import MIN_SIDE, _kind, _read
from onetake.media.probe import MediaError, SoundFacts, VideoFacts, probe_sound, probe_video
from onetake.runtime.errors import JobError
from onetake.runtime.settings import Settings

MAX_VIDEO_SIDE = 4096  # pixels


MAX_MEDIA_SECONDS = 600.0


MAX_FPS = 120


Facts = TypeVar("Facts", VideoFacts, SoundFacts)


def load_video(
    source: str, field: str, settings: Settings, folder: Path
) -> tuple[Path, VideoFacts]:
    """The clip that ``source`` names, as a file in ``folder``, and what it holds.

    Raises:
        JobError: it cannot be had, is no video of a known kind, is damaged, or is too large.
    """
    file, facts = _probed(source, field, settings, folder, probe_video)
    side, fps = max(facts.width, facts.height), float(facts.fps)
    if side > MAX_VIDEO_SIDE or min(facts.width, facts.height) < MIN_SIDE:
        problem = f"has {facts.width}x{facts.height} pixels; {MIN_SIDE} to {MAX_VIDEO_SIDE} a side"
        raise JobError(field, f"{problem} are legal")
    if fps > MAX_FPS:
        raise JobError(field, f"has {fps:g} frames a second; at most {MAX_FPS} are legal")
    _check_length(facts.duration, field)
    return file, facts


def load_sound(
    source: str, field: str, settings: Settings, folder: Path
) -> tuple[Path, SoundFacts]:
    """The WAV that ``source`` names, as a file in ``folder``, and what it holds.

    Raises:
        JobError: it cannot be had, is no WAV, is damaged, or is too long.
    """
    file, facts = _probed(source, field, settings, folder, probe_sound)
    _check_length(facts.duration, field)
    return file, facts


def _probed(
    source: str, field: str, settings: Settings, folder: Path, probe: Callable[[Path], Facts]
) -> tuple[Path, Facts]:
    file = folder / field
    file.write_bytes(_read(source.strip(), field, settings))
    try:
        return file, probe(file)
    except MediaError as error:
        raise JobError(field, f"is {error}; give {_kind(field)}") from None


def _check_length(seconds: float, field: str) -> None:
    if seconds > MAX_MEDIA_SECONDS:
        problem = f"lasts {seconds:.0f} s; at most {MAX_MEDIA_SECONDS:g} s are legal"
        raise JobError(field, problem)
