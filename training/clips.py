"""Procedural product clips: a scene moves by simple physics; `painting` draws its frames.

Everything is measured in units of the frame's shorter side, x to the right and y downward from the
frame's centre. Drawing is pure torch, so a whole training set takes seconds on a GPU.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from training import painting
from training.captions import (
    ACCENTS,
    BACKGROUNDS,
    COLOURS,
    MOVEMENTS,
    SHAPES,
    Scene,
    held_out,
    names,
)

MOVEMENT = {name: index for index, name in enumerate(MOVEMENTS)}
SPEED_RANGE = torch.tensor([[0.006, 0.008], [0.010, 0.014], [0.018, 0.023]])  # per frame
SCALE_RANGE = (0.17, 0.42)  # half-height of the product; zooms stop there
EDGE = 0.05  # movements slow down over this distance before they stop
ORBIT_RADIUS = 0.2
SPIN_RATE = 12  # radians per unit of speed
PREROLL = 110  # frames at most before a late clip's first: most products rest at the edge by then
EARLY_REST = (0.25, 0.06)  # at most, of a late clip: of the room, of the scale
SOFT_REST = (0.55, 2.0)  # of EDGE, in late clips
STATE = ("x", "y", "scale", "phase", "bx", "by", "zoom")


@dataclass
class Clips:
    """A batch of N clips before painting.

    `scenes` says what the captions may say, which is the movement at the end. `state` is float
    [N, F, 7] in the order of STATE. `texture` is float [N, 3, 3]: frequencies and phases of the
    background's faint pattern. `change` int [N] is the first frame of the captioned movement (0
    unless another came before it), `late` bool [N] marks clips that start in mid-movement.
    """

    scenes: list[Scene]
    state: Tensor
    texture: Tensor
    change: Tensor
    late: Tensor
    height: int
    width: int

    def part(self, begin: int, end: int) -> Clips:
        """Some of the clips."""
        some = slice(begin, end)
        return replace(
            self,
            scenes=self.scenes[some],
            state=self.state[some],
            texture=self.texture[some],
            change=self.change[some],
            late=self.late[some],
        )


def random_scenes(count: int, rng: random.Random, *, keep_out: bool = False) -> list[Scene]:
    """Scenes of trained combinations, or only of those kept out of training."""
    scenes: list[Scene] = []
    while len(scenes) < count:
        colour, shape, background = (rng.randrange(len(t)) for t in (COLOURS, SHAPES, BACKGROUNDS))
        movement = rng.randrange(len(MOVEMENTS))
        if held_out(colour, shape, background, movement) != keep_out:
            continue
        # An accent in the product's own colour would not be seen.
        clash = {"white": 0, "black": 1, "yellow": 2}.get(names(COLOURS)[colour])
        accent = rng.choice([a for a in range(len(ACCENTS)) if a != clash])
        speed, sign = rng.randrange(3), rng.choice((1, -1))
        scenes.append(Scene(colour, shape, background, movement, speed, sign, accent))
    return scenes


def make_clips(
    scenes: list[Scene],
    frames: int,
    height: int,
    width: int,
    rng: random.Random,
    *,
    late_share: float = 0.0,
    change_share: float = 0.0,
) -> Clips:
    """Place and move the scenes.

    A `late_share` of the clips has moved for some time before the first frame, and comes to rest
    earlier than others, softer or harder; a `change_share` shows another movement up to a frame
    where 1, 2, 3 or 5 latents end (1, 5, 9 or 17 frames).
    """
    generator = torch.Generator().manual_seed(rng.getrandbits(62))
    count = len(scenes)

    def uniform(low: float | Tensor, high: float | Tensor) -> Tensor:
        return low + (high - low) * torch.rand(count, generator=generator)

    # 1. What each clip does before its caption becomes true.
    movement = torch.tensor([s.movement for s in scenes])
    sign = torch.tensor([float(s.sign) for s in scenes])
    span = SPEED_RANGE[torch.tensor([s.speed for s in scenes])]
    speed = uniform(span[:, 0], span[:, 1])
    lot = torch.rand(count, generator=generator)
    changed = lot < change_share
    late = changed | (lot < change_share + late_share)
    ends = torch.tensor([e for e in (1, 5, 9, 17) if e < frames] or [0])
    change = ends[torch.randint(len(ends), (count,), generator=generator)] * changed
    earlier = torch.where(
        changed, torch.randint(len(MOVEMENTS), (count,), generator=generator), movement
    )
    earlier_sign = torch.where(changed, uniform(-1, 1).sign(), sign)
    preroll = (uniform(0, 1) * PREROLL).long() * late
    # Where and how a late clip comes to rest, its context alone tells: what rests goes on resting.
    going_on = late & ~changed
    early, soft = torch.zeros(count), torch.ones(count)
    if late_share:
        early = torch.where(going_on, uniform(0, 1), early)
        soft = torch.where(going_on, uniform(*SOFT_REST), soft)

    # 2. Where it starts: half at the centre, and with room to go on.
    half_w, half_h = width / min(height, width) / 2, height / min(height, width) / 2
    low = torch.full((count,), 0.23)
    high = torch.full((count,), 0.31)
    low[movement == MOVEMENT["zoom in"]], high[movement == MOVEMENT["zoom in"]] = 0.19, 0.24
    low[movement == MOVEMENT["zoom out"]], high[movement == MOVEMENT["zoom out"]] = 0.27, 0.39
    state = dict.fromkeys(STATE, torch.zeros(count))
    state["scale"] = uniform(low, high)
    room_x, room_y = _room(state["scale"], half_w, half_h)
    centred = torch.rand(count, generator=generator) < 0.5
    heading_x = _heading(movement, sign, ("right", "pan left"), ("left", "pan right"), tilt=False)
    heading_y = _heading(movement, sign, ("down",), ("up",), tilt=True)
    for axis, room, heading in (("x", room_x, heading_x), ("y", room_y, heading_y)):
        anywhere = torch.where(heading == 0, uniform(-0.8, 0.8), -heading * uniform(-0.1, 0.9))
        state[axis] = room * torch.where(centred, uniform(-0.1, 0.1), anywhere)
    state["bx"], state["by"] = uniform(-2, 2), uniform(-0.05, 0.05)
    state["zoom"] = torch.ones(count)

    # 3. Let time run; only the clip's own frames are kept.
    shots = torch.zeros(count, frames, len(STATE))
    longest = int(preroll.max())
    for tick in range(-longest, frames):
        if tick >= 0:
            shots[:, tick] = torch.stack([state[key] for key in STATE], dim=1)
        before = tick + 1 < change
        active = tick >= -preroll
        state = _step(
            state,
            torch.where(before, earlier, movement),
            torch.where(before, earlier_sign, sign),
            speed * active,
            (half_w, half_h),
            (early, soft),
        )

    # 4. A faint pattern of three waves, so that a moving camera is seen on plain backgrounds too.
    waves = torch.rand(count, 3, 3, generator=generator)
    heading, length = waves[..., 0] * math.tau, 1.3 + 1.7 * waves[..., 1]
    texture = torch.stack(
        [length * heading.cos(), length * heading.sin(), waves[..., 2] * math.tau], dim=-1
    )
    return Clips(scenes, shots, texture, change, late, height, width)


def _room(scale: Tensor, half_w: float, half_h: float) -> tuple[Tensor, Tensor]:
    """How far from the centre a product of this scale may go and still be seen whole."""
    return (half_w - 0.85 * scale).clamp_min(0), (half_h - 0.95 * scale).clamp_min(0)


def _heading(
    movement: Tensor, sign: Tensor, plus: tuple[str, ...], minus: tuple[str, ...], *, tilt: bool
) -> Tensor:
    """Where the product goes on the screen along one axis: +1, 0 or -1."""
    heading = torch.zeros_like(sign)
    for name in plus:
        heading[movement == MOVEMENT[name]] = 1
    for name in minus:
        heading[movement == MOVEMENT[name]] = -1
    return torch.where(movement == MOVEMENT["tilt"], sign, heading) if tilt else heading


def _step(
    state: dict[str, Tensor],
    movement: Tensor,
    sign: Tensor,
    speed: Tensor,
    halves: tuple[float, float],
    rest: tuple[Tensor, Tensor],
) -> dict[str, Tensor]:
    """One frame on. A camera shifts product and background, a product itself only.

    `rest` is how early movements end, of EARLY_REST, and how softly, of EDGE.
    """

    def doing(*wanted: str) -> Tensor:
        return sum((movement == MOVEMENT[name]).float() for name in wanted) * speed

    x, y, scale, zoom = state["x"], state["y"], state["scale"], state["zoom"]
    early, edge = rest[0], rest[1] * EDGE
    # 1. Product and camera along the axes, stopping softly where the product would leave the frame.
    room_x, room_y = _room(scale, *halves)
    pan = doing("pan left") - doing("pan right")  # the screen moves against the camera
    tilt = doing("tilt") * sign
    want_x = doing("right") - doing("left") + pan
    want_y = doing("down") - doing("up") + tilt
    reach = 1 - EARLY_REST[0] * early
    go_x = ((reach * room_x - want_x.sign() * x) / edge).clamp(0, 1)
    go_y = ((reach * room_y - want_y.sign() * y) / edge).clamp(0, 1)
    new_x, new_y = x + want_x * go_x, y + want_y * go_y
    bx, by = state["bx"] - pan * go_x / zoom, state["by"] - tilt * go_y / zoom

    # 2. Zoom about the product, so that it stays in the frame; the background grows with it.
    rate = 1.4 * (doing("zoom in") - doing("zoom out"))
    left = torch.where(rate > 0, SCALE_RANGE[1] - scale, scale - SCALE_RANGE[0])
    left = left - EARLY_REST[1] * early
    factor = (rate * (left / (edge / 2)).clamp(0, 1)).exp()
    anchor_x, anchor_y = bx + new_x / zoom, by + new_y / zoom
    scale, zoom = scale * factor, zoom * factor
    room_x, room_y = _room(scale, *halves)
    zooming = rate != 0
    new_x = torch.where(zooming, new_x.clamp(-room_x, room_x), new_x)
    new_y = torch.where(zooming, new_y.clamp(-room_y, room_y), new_y)
    bx = torch.where(zooming, anchor_x - new_x / zoom, bx)
    by = torch.where(zooming, anchor_y - new_y / zoom, by)

    # 3. A spin turns the product on its upright axis, as on a turntable; an orbit does so too, and
    # slides the background behind it.
    slide = 1.6 * doing("orbit") * sign
    turn = SPIN_RATE * doing("spin") * sign
    return {
        "x": new_x,
        "y": new_y,
        "scale": scale,
        "phase": state["phase"] + turn + slide / ORBIT_RADIUS,
        "bx": bx + slide / zoom,
        "by": by,
        "zoom": zoom,
    }


def draw(clips: Clips, device: torch.device | str = "cpu") -> tuple[Tensor, Tensor]:
    """Paint the clips: uint8 frames [N, 3, F, H, W] and the product's mask [N, 1, F, H, W]."""
    count, frames = clips.state.shape[:2]

    def per_frame(values: list[int]) -> Tensor:
        return torch.tensor(values).repeat_interleave(frames).to(device)

    scenes = clips.scenes
    image, mask = painting.painter(
        clips.state.flatten(0, 1).to(device),
        clips.texture.repeat_interleave(frames, dim=0).to(device),
        per_frame([s.shape for s in scenes]),
        per_frame([s.background for s in scenes]),
        painting.COLOUR_RGB.to(device)[per_frame([s.colour for s in scenes])],
        painting.ACCENT_RGB.to(device)[per_frame([s.accent for s in scenes])],
        clips.height,
        clips.width,
    )
    image = image.view(count, frames, 3, clips.height, clips.width).transpose(1, 2)
    mask = mask.view(count, frames, 1, clips.height, clips.width).transpose(1, 2)
    return image, mask


def with_movement(scene: Scene, movement: str) -> Scene:
    """The same scene asked to move otherwise."""
    return replace(scene, movement=MOVEMENT[movement])
