"""Frames of a scene, painted with signed distances; pure torch, a batch at once.

Everything is measured in units of the frame's shorter side, x to the right and y downward from the
frame's centre.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from training.captions import BACKGROUNDS, SHAPES, names

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
TEXTURE = 0.08  # of full brightness: on a plain ground it alone tells a camera from a product


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

    state [M, 7], texture [M, 3, 3], shape and background int [M], colour and accent [M, 3].
    """
    short = min(height, width)
    x, y, scale, phase, bx, by, zoom = (v[:, None, None] for v in state.unbind(1))
    grid_y = (torch.arange(height, device=state.device) + 0.5) / short - height / short / 2
    grid_x = (torch.arange(width, device=state.device) + 0.5) / short - width / short / 2
    grid_x, grid_y = grid_x[None, None, :], grid_y[None, :, None]

    # 1. The background, fixed to the world.
    image = _backdrop(background, texture, grid_x / zoom + bx, grid_y / zoom + by, zoom * short)
    image = [channel.clamp(0, 1) for channel in image]

    # 2. A soft shadow under the product.
    dx, dy = (grid_x - x) / scale, (grid_y - y) / scale
    shadow = 1 - 0.22 * (-((dx / 0.9) ** 2) - ((dy - 1.0) / 0.25) ** 2).exp()

    # 3. The product: seen from a side by its phase, which narrows it, and outlined.
    u, v = dx / (0.85 + 0.15 * phase.cos()), dy
    pixels = scale * short  # pixels per unit of u and v
    distance, part, shade = _product(shape[:, None, None], u, v)
    cover = (0.5 - distance * pixels).clamp(0, 1)
    on_part = (0.5 - part * pixels).clamp(0, 1)
    rim = (0.5 + (distance + 0.075) * pixels).clamp(0, 1)
    turn = 0.45 * phase.sin()
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


painter = paint


def compile_painter() -> None:
    """On a GPU, fuse the drawing: 20 times faster."""
    global painter  # noqa: PLW0603 - the one that all clips are drawn with
    if torch.cuda.is_available():
        painter = torch.compile(paint, dynamic=True)


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
                value = tables[name][c] + TEXTURE * faint
            elif name == "gradient":
                first, second = ((0.55, 0.08), (0.22, 0.66), (0.78, 0.64))[c]
                value = mix(first, second, down) + TEXTURE * faint
            elif name == "studio":
                wall, ground = ((0.44, 0.70), (0.50, 0.68), (0.60, 0.67))[c]
                value = mix(wall, ground, floor) + 0.25 * spot + TEXTURE * faint
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
                value = upper + (last - middle) * (evening * 2 - 1).clamp(0, 1) + TEXTURE * faint
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
