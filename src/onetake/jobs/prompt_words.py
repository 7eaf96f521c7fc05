"""Prompt optimisation by rules: what a prompt leaves open is said in words that video models know.

A prompt should name its subject, the camera, the light and the style. For each of the four that
no word of the prompt touches, one fixed phrase is added, the subject in front and the others at
the end. Of what the user wrote only punctuation at its end is dropped.
"""

import re

SUBJECT, PICTURED = "a product", "the product in the picture"
CAMERA = "slow camera push-in"
LIGHT = "soft studio lighting"
STYLE = "cinematic product commercial"

# Whole words; Chinese, which does not space its words, is looked for anywhere.
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
    told = prompt.strip().rstrip(".,;")
    parts = [told] if told else []
    if not told or _STARTS_WITH_MOVEMENT.match(told):
        parts.insert(0, PICTURED if has_image else SUBJECT)
    for words, phrase in ((_CAMERA_WORDS, CAMERA), (_LIGHT_WORDS, LIGHT), (_STYLE_WORDS, STYLE)):
        if not words.search(told):
            parts.append(phrase)
    return ", ".join(parts)
