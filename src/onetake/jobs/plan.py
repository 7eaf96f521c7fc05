"""What will be generated and delivered."""

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from onetake.jobs.estimate import Estimate
from onetake.jobs.storyboard import Segment


@dataclass(frozen=True)
class Chaining:
    """How segments are made to continue each other."""

    loops: bool  # the last segment ends on the take's first frame
    retries: int  # at most, of each segment that continues another
    colour_match: float  # 0 to 1: how far colours are drawn back to the first segment's
    history_noise: float  # standard deviations, on the latents that a segment continues from


@dataclass(frozen=True)
class Plan:
    """What will be generated and delivered. Sizes are (width, height) in pixels."""

    model: str
    profile: str
    prompt: str
    negative_prompt: str
    num_inference_steps: int
    flow_shift: float
    seed: int
    size: tuple[int, int]
    fps: Fraction
    num_frames: int
    extends: bool  # a clip
    given_frames: int  # delivered frames that are the clip's own, without its last
    context_frames: int  # generated frames that the first segment starts with
    generated_size: tuple[int, int]
    generated_fps: int
    generated_frames: int  # those kept; the surplus of the segments is trimmed
    segments: tuple[Segment, ...]
    chaining: Chaining
    notes: tuple[str, ...]
    estimate: Estimate

    @property
    def duration(self) -> float:
        """Delivered seconds."""
        return float(self.num_frames / self.fps)

    def seams(self) -> list[tuple[int, Segment]]:
        """Each segment but the first, after the delivered frame that starts it.

        The first too if it continues a clip. A segment is left out if it starts after the last
        delivered frame, into which its first frame is only blended.
        """
        rate, clip_frames = self.fps / self.generated_fps, self.given_frames
        starts = [
            (clip_frames + math.ceil(segment.start_frame * rate), segment)
            for segment in self.segments[1:]
        ]
        if self.extends:
            starts.insert(0, (clip_frames + 1, self.segments[0]))
        return [(frame, segment) for frame, segment in starts if frame < self.num_frames]

    def seam_frames(self) -> list[int]:
        """The delivered frame that starts each segment but the first."""
        return [frame for frame, _segment in self.seams()]

    def summary(self) -> dict[str, Any]:
        """What the request does not say itself, for JSON."""
        storyboard = self.segments[-1].part > 0
        return {
            "generated_size": f"{self.generated_size[0]}*{self.generated_size[1]}",
            "generated_fps": self.generated_fps,
            "generated_frames": sum(segment.num_frames for segment in self.segments),
            "num_inference_steps": self.num_inference_steps,
            "guidance_scale": self.segments[0].guidance_scale,
            "flow_shift": self.flow_shift,
            "segments": [
                {
                    "num_frames": segment.num_frames,
                    "overlap_frames": segment.overlap_frames,
                    "seed": segment.seed,
                    "guidance_scale": segment.guidance_scale,
                    **({"prompt": segment.prompt} if storyboard else {}),
                }
                for segment in self.segments
            ],
            "estimate": self.estimate.summary(),
        }
