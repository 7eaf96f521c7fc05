"""Lab colours, and CIEDE2000, the colour difference that agrees best with what people see."""

import cv2
import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.floating]
Lab = npt.NDArray[np.float32]  # L* 0 to 100, a*, b* in the last axis
_CHROMA_KNEE = 25.0**7


def lab_of(frames: npt.NDArray[np.uint8]) -> Lab:
    """CIELAB in D65 of sRGB frames: uint8 (..., height, width, 3) to float32 of the same shape."""
    rgb = np.ascontiguousarray(frames, np.float32) / np.float32(255)
    lab = cv2.cvtColor(_as_picture(rgb), cv2.COLOR_RGB2LAB)
    return np.asarray(lab, np.float32).reshape(frames.shape)


def rgb_of(lab: FloatArray) -> npt.NDArray[np.uint8]:
    """The way back: uint8 sRGB of the same shape; colours that sRGB lacks are clipped."""
    rgb = cv2.cvtColor(_as_picture(lab.astype(np.float32)), cv2.COLOR_LAB2RGB)
    levels: npt.NDArray[np.uint8] = (np.clip(rgb, 0, 1) * 255).round().astype(np.uint8)
    return levels.reshape(lab.shape)


def _as_picture(values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """All frames below each other, since OpenCV converts one picture at a time."""
    return values.reshape(-1, *values.shape[-2:])


def delta_e(one: FloatArray, other: FloatArray) -> FloatArray:
    """CIEDE2000 between CIELAB colours (L* 0 to 100) in the last axis; about 1 is just seen.

    Sharma, Wu and Dalal, "The CIEDE2000 color-difference formula", 2005, with all weights 1; the
    tests compare it with their published pairs.
    """
    light_1, a_1, b_1 = np.moveaxis(one.astype(np.float64), -1, 0)
    light_2, a_2, b_2 = np.moveaxis(other.astype(np.float64), -1, 0)
    # 1. Chroma and hue, with a* stretched where colours are nearly grey.
    grey = 1.5 - 0.5 * _saturation((np.hypot(a_1, b_1) + np.hypot(a_2, b_2)) / 2)
    chroma_1, chroma_2 = np.hypot(grey * a_1, b_1), np.hypot(grey * a_2, b_2)
    hue_1 = np.degrees(np.arctan2(b_1, grey * a_1)) % 360
    hue_2 = np.degrees(np.arctan2(b_2, grey * a_2)) % 360
    # 2. Differences; the hue's is an angle the short way round, and none at all from grey.
    coloured = chroma_1 * chroma_2 > 0
    turn = np.where(coloured, (hue_2 - hue_1 + 180) % 360 - 180, 0.0)
    hue_step = 2 * np.sqrt(chroma_1 * chroma_2) * np.sin(np.radians(turn) / 2)
    # 3. Their weights, at the mean of both colours.
    light, chroma = (light_1 + light_2) / 2, (chroma_1 + chroma_2) / 2
    hue = np.where(coloured, hue_1 + turn / 2, hue_1 + hue_2)
    tone = (
        1
        - 0.17 * np.cos(np.radians(hue - 30))
        + 0.24 * np.cos(np.radians(2 * hue))
        + 0.32 * np.cos(np.radians(3 * hue + 6))
        - 0.20 * np.cos(np.radians(4 * hue - 63))
    )
    from_grey = (light - 50) ** 2
    by_light = (light_2 - light_1) / (1 + 0.015 * from_grey / np.sqrt(20 + from_grey))
    by_chroma = (chroma_2 - chroma_1) / (1 + 0.045 * chroma)
    by_hue = hue_step / (1 + 0.015 * chroma * tone)
    # 4. Blues: chroma and hue pull on each other.
    blue = 60 * np.exp(-((((hue % 360) - 275) / 25) ** 2))
    pull = -2 * _saturation(chroma) * np.sin(np.radians(blue))
    total = by_light**2 + by_chroma**2 + by_hue**2 + pull * by_chroma * by_hue
    return np.asarray(np.sqrt(np.maximum(total, 0.0)))


def _saturation(chroma: FloatArray) -> FloatArray:
    return np.asarray(np.sqrt(chroma**7 / (chroma**7 + _CHROMA_KNEE)))
