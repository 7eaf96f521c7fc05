"""Prompt optimisation by rules: what a prompt leaves open is said in words that video models know.

A prompt should name its subject, the camera, the light and the style. For each of the four that
no word of the prompt touches, one fixed phrase is added at the end; nothing that the user wrote is
changed or moved, and a prompt that says all four comes back as it was.
"""

import re

CAMERA = "slow camera push-in"
LIGHT = "soft studio lighting"
STYLE = "cinematic product commercial"
SUBJECT = "the product in the picture"

# Stems, matched at the start of a word; Chinese terms anywhere.
_CAMERA_WORDS = (
    "camera pan tilt zoom dolly orbit tracking crane handheld push pull truck steadicam drone "
    "close-up closeup wide-shot static still 镜头 推近 拉远 环绕 平移 特写"
)
_LIGHT_WORDS = (
    "light lit sun shadow glow backlit neon golden dusk dawn daylight overcast bright dark moody "
    "光 阴影 日落 明亮"
)
_STYLE_WORDS = (
    "cinematic commercial advert photoreal realistic anime cartoon render film documentary style "
    "watercolor watercolour vintage minimalist 3d 4k 8k 电影 写实 动画 风格 广告"
)


def optimise(prompt: str, *, has_image: bool) -> str:
    """``prompt`` with the missing subject, camera, light and style words added.

    An image is the subject when the prompt names none, that is, when it is empty or starts with
    the movement ("zooming in slowly").
    """
    told = prompt.strip().rstrip(".,;")
    starts_with_movement = re.match(r"(the )?camera\b|\w+ing\b", told, re.IGNORECASE)
    parts = [told] if told else []
    if has_image and (not told or starts_with_movement):
        parts.insert(0, SUBJECT)
    for words, phrase in ((_CAMERA_WORDS, CAMERA), (_LIGHT_WORDS, LIGHT), (_STYLE_WORDS, STYLE)):
        if not _mentions(told, words):
            parts.append(phrase)
    return ", ".join(parts)


def _mentions(prompt: str, words: str) -> bool:
    terms = words.split()
    latin = "|".join(re.escape(term) for term in terms if term.isascii())
    if re.search(rf"\b(?:{latin})", prompt, re.IGNORECASE):
        return True
    return any(term in prompt for term in terms if not term.isascii())
