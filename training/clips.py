"""Procedural product clips: a scene moves by simple physics and is painted with distances.

Everything is measured in units of the frame's shorter side, x to the right and y downward from the
frame's centre. Drawing is pure torch, so a whole training set takes seconds on a GPU.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, replace

import torch
from torch import Tensor

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

COLOUR_RGB = torch.tensor(
    [
        [0.86, 0.08, 0.10],
        [1.00, 0.50, 0.00],
        [1.00, 0.88, 0.10],
        [0.05, 0.58, 0.20],
        [0.08, 0.25, 0.85],
        [0.48, 0.12, 0.70],
        [1.00, 0.45, 0.70],
        [0.42, 0.24, 0.10],
        [0.06, 0.06, 0.07],
        [0.98, 0.98, 0.98],
    ]
)  # in the order of COLOURS
ACCENT_RGB = torch.tensor([[0.95, 0.95, 0.95], [0.12, 0.12, 0.13], [0.80, 0.62, 0.18]])
MOVEMENT = {name: index for index, name in enumerate(MOVEMENTS)}
SPEED_RANGE = torch.tensor([[0.006, 0.008], [0.010, 0.014], [0.018, 0.023]])  # per frame
SCALE_RANGE = (0.17, 0.42)  # half-height of the product; zooms stop there
EDGE = 0.05  # movements slow down over this distance before they stop
ORBIT_RADIUS = 0.2
STATE = ("x", "y", "scale", "angle", "phase", "bx", "by", "zoom")


@dataclass
class Clips:
    """A batch of N clips before painting.

    `scenes` says what the captions may say, which is the movement at the end. `state` is float
    [N, F, 8] in the order of STATE. `texture` is float [N, 3, 3]: frequencies and phases of the
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

    A `late_share` of the clips has moved for some time before the first frame; a `change_share`
    shows another movement up to a frame where 1, 2, 3 or 5 latents end (1, 5, 9 or 17 frames).
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
    preroll = (uniform(0, 1) ** 2 * 60).long() * late

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
    some = changed & (torch.rand(count, generator=generator) < 0.3)
    state["angle"] = uniform(-3.1, 3.1) * some

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
) -> dict[str, Tensor]:
    """One frame on. A camera shifts product and background, a product itself only."""

    def doing(*wanted: str) -> Tensor:
        return sum((movement == MOVEMENT[name]).float() for name in wanted) * speed

    x, y, scale, zoom = state["x"], state["y"], state["scale"], state["zoom"]
    # 1. Product and camera along the axes, stopping softly where the product would leave the frame.
    room_x, room_y = _room(scale, *halves)
    pan = doing("pan left") - doing("pan right")  # the screen moves against the camera
    tilt = doing("tilt") * sign
    want_x = doing("right") - doing("left") + pan
    want_y = doing("down") - doing("up") + tilt
    go_x = ((room_x - want_x.sign() * x) / EDGE).clamp(0, 1)
    go_y = ((room_y - want_y.sign() * y) / EDGE).clamp(0, 1)
    new_x, new_y = x + want_x * go_x, y + want_y * go_y
    bx, by = state["bx"] - pan * go_x / zoom, state["by"] - tilt * go_y / zoom

    # 2. Zoom about the product, so that it stays in the frame; the background grows with it.
    rate = 1.4 * (doing("zoom in") - doing("zoom out"))
    rest = torch.where(rate > 0, SCALE_RANGE[1] - scale, scale - SCALE_RANGE[0])
    factor = (rate * (rest / (EDGE / 2)).clamp(0, 1)).exp()
    anchor_x, anchor_y = bx + new_x / zoom, by + new_y / zoom
    scale, zoom = scale * factor, zoom * factor
    room_x, room_y = _room(scale, *halves)
    zooming = rate != 0
    new_x = torch.where(zooming, new_x.clamp(-room_x, room_x), new_x)
    new_y = torch.where(zooming, new_y.clamp(-room_y, room_y), new_y)
    bx = torch.where(zooming, anchor_x - new_x / zoom, bx)
    by = torch.where(zooming, anchor_y - new_y / zoom, by)

    # 3. An orbit slides the background behind a product that shows its side.
    slide = 1.6 * doing("orbit") * sign
    return {
        "x": new_x,
        "y": new_y,
        "scale": scale,
        "angle": state["angle"] + 6 * doing("spin") * sign,
        "phase": state["phase"] + slide / ORBIT_RADIUS,
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
    image, mask = PAINT(
        clips.state.flatten(0, 1).to(device),
        clips.texture.repeat_interleave(frames, dim=0).to(device),
        per_frame([s.shape for s in scenes]),
        per_frame([s.background for s in scenes]),
        COLOUR_RGB.to(device)[per_frame([s.colour for s in scenes])],
        ACCENT_RGB.to(device)[per_frame([s.accent for s in scenes])],
        clips.height,
        clips.width,
    )
    image = image.view(count, frames, 3, clips.height, clips.width).transpose(1, 2)
    mask = mask.view(count, frames, 1, clips.height, clips.width).transpose(1, 2)
    return image, mask


def paint(
    state: Tensor,
    texture: Tensor,
    shape: Tensor,
    background: Tensor,
    colour: Tensor,
    accent: Tensor,
    height: int,
    width: int,
) -> tuple[Tensor, Tensor]:
    """Paint M frames: uint8 [M, 3, H, W] and mask uint8 [M, H, W].

    state [M, 8], texture [M, 3, 3], shape and background int [M], colour and accent [M, 3].
    """
    short = min(height, width)
    x, y, scale, angle, phase, bx, by, zoom = (v[:, None, None] for v in state.unbind(1))
    grid_y = (torch.arange(height, device=state.device) + 0.5) / short - height / short / 2
    grid_x = (torch.arange(width, device=state.device) + 0.5) / short - width / short / 2
    grid_x, grid_y = grid_x[None, None, :], grid_y[None, :, None]

    # 1. The background, fixed to the world.
    image = _backdrop(background, texture, grid_x / zoom + bx, grid_y / zoom + by, zoom * short)
    image = [channel.clamp(0, 1) for channel in image]

    # 2. A soft shadow under the product.
    dx, dy = (grid_x - x) / scale, (grid_y - y) / scale
    shadow = 1 - 0.22 * (-((dx / 0.9) ** 2) - ((dy - 1.0) / 0.25) ** 2).exp()

    # 3. The product: turned, narrowed by an orbit, outlined.
    narrow = 0.85 + 0.15 * phase.cos()
    u = (dx * angle.cos() + dy * angle.sin()) / narrow
    v = dy * angle.cos() - dx * angle.sin()
    pixels = scale * short  # pixels per unit of u and v
    distance, part, shade = _product(shape[:, None, None], u, v)
    cover = (0.5 - distance * pixels).clamp(0, 1)
    on_part = (0.5 - part * pixels).clamp(0, 1)
    rim = (0.5 + (distance + 0.075) * pixels).clamp(0, 1)
    turn = 0.35 * phase.sin()
    light = shade * (1.0 - 0.16 * (0.7 * (u - turn) + 0.4 * v))
    glint = 0.16 * (-(((u + 0.28 - turn) / 0.16) ** 2) - ((v + 0.15) / 0.42) ** 2).exp()
    out = []
    for index, channel in enumerate(image):
        main, second = colour[:, index, None, None], accent[:, index, None, None]
        body = (main + (second - main) * on_part) * light + glint
        # The rim is darker than a bright product and lighter than a black one.
        dark = colour.amax(dim=1)[:, None, None] < 0.2
        edge = torch.where(dark, main + 0.30, main * 0.70)
        body = (body + (edge - body) * rim).clamp(0, 1)
        out.append(channel * shadow + (body - channel * shadow) * cover)
    planes = _soften(torch.stack([*out, cover], dim=1))
    painted = (planes * 255 + 0.5).to(torch.uint8)
    return painted[:, :3], painted[:, 3]


def _soften(planes: Tensor) -> Tensor:
    """A lens's softness of about a pixel (binomial, 5 taps): filmed edges are never drawn ones."""
    for axis in (2, 3):
        size = planes.shape[axis]
        at = torch.arange(size, device=planes.device)
        planes = sum(
            weight * planes.index_select(axis, (at + shift).clamp(0, size - 1))
            for weight, shift in ((0.0625, -2), (0.25, -1), (0.375, 0), (0.25, 1), (0.0625, 2))
        )
    return planes


PAINT = paint  # a GPU run puts the compiled function here: fusing makes drawing 20 times faster


def _backdrop(
    kind: Tensor, texture: Tensor, wx: Tensor, wy: Tensor, pixels: Tensor
) -> list[Tensor]:
    """Red, green and blue planes [M, H, W] of the background at world position (wx, wy)."""
    waves = [
        (math.tau * (t[:, 0, None, None] * wx + t[:, 1, None, None] * wy) + t[:, 2, None, None])
        for t in texture.unbind(1)
    ]
    faint = (waves[0].sin() + waves[1].sin() + waves[2].sin()) / 3
    fine = ((2.3 * waves[0]).sin() * (1.9 * waves[1]).sin() + 0.5 * (2.7 * waves[2]).sin()) / 1.5
    cloud = ((faint * 1.5 + fine * 0.3 + 0.05) * 1.2).clamp(0, 1)
    floor = (0.5 + (wy - 0.17) * pixels / 2).clamp(0, 1)
    spot = (-((wx / 0.55) ** 2) - ((wy + 0.12) / 0.4) ** 2).exp() * (1 - floor)
    board = (wy / 0.24).floor()
    across = wy / 0.24 - board
    along = wx / 0.9 + 0.37 * board
    gap = torch.minimum(across, 1 - across) * 0.24
    joint = (along - along.floor() - 0.5).abs() * 0.9
    groove = (1 - torch.minimum(gap, joint) * pixels / 1.5).clamp(0, 1)
    tone = 0.07 * (board * 2.4 + (along - 0.5).round() * 1.7).sin()
    down = (wy * 0.9 + 0.5).clamp(0, 1)
    down = down * down * (3 - 2 * down)
    evening = (wy * 1.1 + 0.5).clamp(0, 1)

    def mix(first: float, second: float, share: Tensor) -> Tensor:
        return first + (second - first) * share

    planes = []
    tables = {
        "white": (0.91, 0.91, 0.91), "black": (0.13, 0.13, 0.14), "grey": (0.52, 0.52, 0.53),
        "beige": (0.86, 0.75, 0.58),
    }  # fmt: skip
    for c in range(3):
        plane = torch.zeros_like(wx + wy)
        for index, name in enumerate(names(BACKGROUNDS)):
            if name in tables:
                value = tables[name][c] + 0.055 * faint
            elif name == "gradient":
                first, second = ((0.55, 0.08), (0.22, 0.66), (0.78, 0.64))[c]
                value = mix(first, second, down) + 0.05 * faint
            elif name == "studio":
                wall, ground = ((0.44, 0.70), (0.50, 0.68), (0.60, 0.67))[c]
                value = mix(wall, ground, floor) + 0.25 * spot + 0.04 * faint
            elif name == "sky":
                top, bottom = ((0.30, 0.62), (0.58, 0.80), (0.93, 0.97))[c]
                blue = mix(top, bottom, down)
                value = blue + (0.97 - blue) * 0.8 * cloud
            elif name == "wood":
                base = (0.74, 0.53, 0.32)[c]
                value = (base + tone + 0.05 * faint) * (1 - 0.25 * groove)
            elif name == "grass":
                value = (0.50, 0.70, 0.30)[c] + (0.08, 0.07, 0.05)[c] * fine + 0.04 * faint
            else:  # sunset
                first, middle, last = ((0.32, 0.95, 1.0), (0.16, 0.42, 0.76), (0.45, 0.35, 0.35))[c]
                upper = mix(first, middle, (evening * 2).clamp(0, 1))
                value = upper + (last - middle) * (evening * 2 - 1).clamp(0, 1) + 0.05 * faint
            plane = torch.where(kind[:, None, None] == index, value, plane)
        planes.append(plane)
    return planes


def _product(shape: Tensor, u: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Signed distance of the silhouette, of the part in the second colour, and a shade factor."""

    def box(cx: float, cy: float, hx: float, hy: float, r: float = 0.0) -> Tensor:
        qx, qy = (u - cx).abs() - hx + r, (v - cy).abs() - hy + r
        outside = (qx.clamp_min(0) ** 2 + qy.clamp_min(0) ** 2 + 1e-12).sqrt()
        return outside + torch.maximum(qx, qy).clamp_max(0) - r

    def ellipse(cy: float, rx: float, ry: float) -> Tensor:
        return (((u / rx) ** 2 + ((v - cy) / ry) ** 2 + 1e-12).sqrt() - 1) * ry

    def taper(top: float, bottom: float, y0: float, y1: float) -> Tensor:
        slope = (bottom - top) / (y1 - y0)
        side = (u.abs() - top - slope * (v - y0)) / math.hypot(1, slope)
        return torch.maximum(side, torch.maximum(y0 - v, v - y1))

    none, one = torch.full_like(u, 9.0), torch.ones_like(u)
    both = torch.minimum
    radius = (u * u + v * v + 1e-12).sqrt()
    bottle_cap, can_band = box(0, -0.80, 0.25, 0.17, 0.04), box(0, 0.05, 2.0, 0.30)
    tube_cap, jar_lid = box(0, 0.76, 0.36, 0.20, 0.05), box(0, -0.46, 0.92, 0.22, 0.06)
    gem = (u.abs() + (v + 0.74).abs() - 0.34) * 0.70
    lid = ellipse(-0.80, 0.60, 0.17)
    # A five-pointed star: fold the angle into half a spike, then measure to its straight side.
    spike = math.tau / 5
    bend = torch.atan2(u, -v)
    folded = (bend - (bend / spike).round() * spike).abs()
    px, py = radius * folded.sin(), radius * folded.cos()
    tip, notch_x, notch_y = 1.02, 0.47 * math.sin(spike / 2), 0.47 * math.cos(spike / 2)
    reach = math.hypot(notch_x, tip - notch_y)
    star = (px * (tip - notch_y) + (py - tip) * notch_x) / reach
    hexagon = torch.maximum(u.abs() - 0.82, 0.5 * u.abs() * 1.16 + v.abs() * 0.87 - 0.82)
    top_face, left_face = v < -0.56 * u.abs(), u < 0
    cube_shade = torch.where(top_face, 1.25 * one, torch.where(left_face, 0.86 * one, 0.58 * one))
    cone_side = torch.where(u > 0.30 * (v + 0.95), 0.72 * one, one)
    cases = {
        "bottle": (both(both(box(0, 0.30, 0.50, 0.66, 0.16), box(0, -0.5, 0.19, 0.3)), bottle_cap),
                   bottle_cap, one),
        "can": (both(both(box(0, 0, 0.60, 0.80), lid), ellipse(0.80, 0.60, 0.17)), can_band,
                torch.where(lid < 0, 1.3 * one, one)),
        "box": (box(0, 0, 0.68, 0.88), box(-0.17, 0.10, 0.33, 0.36),
                torch.where(u > 0.34, 0.66 * one, one)),
        "tube": (both(taper(0.68, 0.34, -0.95, 0.62), tube_cap), tube_cap,
                 torch.where(v < -0.78, 0.80 * one, one)),
        "jar": (both(box(0, 0.18, 0.84, 0.56, 0.18), jar_lid), jar_lid, one),
        "ball": (radius - 0.86, (v - 0.1 * u * u).abs() - 0.20, 1.08 - 0.25 * radius),
        "cube": (hexagon, none, cube_shade),
        "cone": (both(taper(0.02, 0.78, -0.98, 0.62), ellipse(0.62, 0.78, 0.24)), none, cone_side),
        "star": (star, none, one),
        "ring": (both((radius - 0.60).abs() - 0.25, gem), gem, one),
    }  # fmt: skip
    distance, part, shade = cases["bottle"]
    for index, name in enumerate(names(SHAPES)):
        chosen = shape == index
        distance = torch.where(chosen, cases[name][0], distance)
        part = torch.where(chosen, cases[name][1], part)
        shade = torch.where(chosen, cases[name][2], shade)
    return distance, part, shade


def with_movement(scene: Scene, movement: str) -> Scene:
    """The same scene asked to move otherwise."""
    return replace(scene, movement=MOVEMENT[movement])
