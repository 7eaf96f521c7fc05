"""Prompt optimisation by rules: add what a prompt leaves open, in words that video models know.

A prompt should name its subject, the camera, the light and the style. For each of the four that
the prompt does not mention, one fixed phrase is added: the subject in front, the others at the
end. The user's words stay as they are; only punctuation at the end is dropped.
"""

import re

SUBJECT, PICTURED = "a product", "the product in the picture"
CAMERA = "slow camera push-in"
LIGHT = "soft studio lighting"
STYLE = "cinematic product commercial"

# Whole words; Chinese has no spaces between its words, so it is matched anywhere.
_CAMERA_WORDS = re.compile(
    r"\b(camera|pan(s|ning)?|tilt(s|ing)?|zoom(s|ing|ed)?|dolly|orbit(s|ing)?|tracking|handheld|"
    r"push(es|ing)?[ -]in|pull(s|ing)?[ -](back|out)|steadicam|drone|close[ -]?up|wide[ -]shot|"
    r"static[ -]shot)\b|镜头|推近|拉远|环绕|平移|特写",
    re.IGNORECASE,
)
_LIGHT_WORDS = re.compile(
    r"\b((sun|moon|day|candle|back)?(light|lights|lighting|lit)|sun(set|rise|ny)|shadows?|"
    r"glow(s|ing)?|neon|golden hour|dusk|dawn|overcast|moody)\b|光|阴影|日落|明亮",
    re.IGNORECASE,
)
_STYLE_WORDS = re.compile(
    r"\b(cinematic|commercial|advert(isement|ising)?|photo-?real(istic)?|realistic|anime|cartoon|"
    r"render(ed)?|film|documentary|styled?|watercolou?r|vintage|minimalist|3d|4k|8k)\b|"
    r"电影|写实|动画|风格|广告",
    re.IGNORECASE,
)
_STARTS_WITH_MOVEMENT = re.compile(
    r"((slow|fast|quick|smooth|gentl)(ly|e|y)?\s+)*((the\s+)?camera|(zoom|pan|pann|tilt|orbit|"
    r"spin|spinn|rotat|mov|glid|push|pull|turn|fly|slid|float)(ing|s|es)?)\b",
    re.IGNORECASE,
)


def optimise(prompt: str, *, has_image: bool) -> str:
    """``prompt`` with the missing subject, camera, light and style words added.

    A prompt that is empty or starts with the movement ("zooming in slowly") names no subject; an
    image is then the subject.
    """
    text = prompt.strip().rstrip(".,;")
    parts = [text] if text else []
    if not text or _STARTS_WITH_MOVEMENT.match(text):
        parts.insert(0, PICTURED if has_image else SUBJECT)
    for words, phrase in ((_CAMERA_WORDS, CAMERA), (_LIGHT_WORDS, LIGHT), (_STYLE_WORDS, STYLE)):
        if not words.search(text):
            parts.append(phrase)
    return ", ".join(parts)
