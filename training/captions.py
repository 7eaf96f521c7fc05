"""What the embedded model can be asked for, and the many ways of asking for it.

A clip is described by integer attributes (`Scene`); `caption` words them as a user, an advertising
script or a prompt optimiser might. Every word that can appear is in `vocabulary`.
"""

from __future__ import annotations

import hashlib
import random
import re
from dataclasses import dataclass

# Each name is followed by its synonyms. The first word is the attribute's name in code and figures.
COLOURS: dict[str, tuple[str, ...]] = {
    "red": ("red", "crimson", "scarlet", "ruby", "bright red", "cherry red"),
    "orange": ("orange", "tangerine", "bright orange", "amber"),
    "yellow": ("yellow", "lemon", "golden", "bright yellow", "lemon yellow"),
    "green": ("green", "emerald", "emerald green", "bright green", "lime green"),
    "blue": ("blue", "cobalt", "royal blue", "azure", "sapphire", "deep blue"),
    "purple": ("purple", "violet", "lilac", "deep purple"),
    "pink": ("pink", "rose", "magenta", "hot pink", "fuchsia"),
    "brown": ("brown", "chocolate", "chestnut", "chocolate brown", "dark brown"),
    "black": ("black", "jet black", "ebony", "matte black"),
    "white": ("white", "ivory", "pure white", "snow white", "pearl white"),
}
SHAPES: dict[str, tuple[str, ...]] = {
    "bottle": ("bottle", "perfume bottle", "glass bottle", "flask", "water bottle"),
    "can": ("can", "soda can", "tin", "drink can", "tin can", "aluminium can", "beverage can"),
    "box": ("box", "carton", "package", "packet", "cardboard box", "gift box"),
    "tube": ("tube", "cream tube", "squeeze tube", "toothpaste tube", "lotion tube"),
    "jar": ("jar", "pot", "cream jar", "glass jar", "cosmetic jar"),
    "ball": ("ball", "sphere", "globe", "beach ball", "round ball"),
    "cube": ("cube", "block", "dice"),
    "cone": ("cone", "party hat", "pyramid", "cone shape"),
    "star": ("star", "star shape", "five pointed star", "starfish"),
    "ring": ("ring", "hoop", "gem ring", "jewelry ring", "donut"),
}
BACKGROUNDS: dict[str, tuple[str, ...]] = {
    "white": ("white {bg}", "plain white {bg}", "bright white {bg}", "clean white {bg}"),
    "black": ("black {bg}", "plain black {bg}", "dark {bg}", "deep black {bg}"),
    "grey": ("grey {bg}", "gray {bg}", "plain grey {bg}", "neutral grey {bg}", "neutral gray {bg}"),
    "beige": ("beige {bg}", "cream {bg}", "sand coloured {bg}", "warm beige {bg}", "tan {bg}"),
    "gradient": ("gradient {bg}", "purple to teal gradient", "smooth gradient", "colour gradient"),
    "studio": ("studio floor", "photo studio", "studio {bg}", "studio set", "studio"),
    "sky": ("blue sky", "sky {bg}", "cloudy sky", "sky with clouds", "sky", "clouds"),
    "wood": ("wooden table", "wood {bg}", "wooden {bg}", "wooden surface", "oak table"),
    "grass": ("grass", "green lawn", "meadow", "grass {bg}", "green grass", "grassy field"),
    "sunset": ("sunset", "sunset {bg}", "sunset sky", "golden hour sky", "orange sunset", "dusk"),
}
# {a} takes an adverb of speed; {it} names the product.
MOVEMENTS: dict[str, tuple[str, ...]] = {
    "left": (
        "{it} {a} moving to the left", "{it} {a} moves left", "{a} sliding left",
        "{it} {a} slides to the left", "{it} {a} glides to the left", "{a} drifting left",
        "{it} {a} drifts leftward", "{a} moving from right to left", "{it} travels left {a}",
        "{it} moves {a} towards the left", "{a} gliding left", "leftward motion", "right to left",
        "{it} {a} goes left", "{it} shifts to the left {a}", "{a} moving leftwards",
    ),
    "right": (
        "{it} {a} moving to the right", "{it} {a} moves right", "{a} sliding right",
        "{it} {a} slides to the right", "{it} {a} glides to the right", "{a} drifting right",
        "{it} {a} drifts rightward", "{a} moving from left to right", "{it} travels right {a}",
        "{it} moves {a} towards the right", "{a} gliding right", "rightward motion",
        "left to right", "{it} {a} goes right", "{it} shifts to the right {a}",
        "{a} moving rightwards",
    ),
    "up": (
        "{it} {a} moving up", "{it} {a} rises", "{a} rising", "{it} {a} floats upward",
        "{it} {a} lifts up", "{a} floating up", "{it} moves upwards {a}", "{it} {a} ascends",
        "{a} ascending", "{it} goes up {a}", "upward motion", "{it} levitates {a}",
        "{it} {a} drifts upward", "{it} {a} moves from bottom to top", "{a} lifting upwards",
    ),
    "down": (
        "{it} {a} moving down", "{it} {a} falls", "{a} falling", "{it} {a} drops down",
        "{it} {a} sinks", "{a} sinking down", "{it} moves downwards {a}", "{it} {a} descends",
        "{a} descending", "{it} goes down {a}", "downward motion", "{it} lowers {a}",
        "{it} {a} drifts downward", "{it} {a} moves from top to bottom", "{a} dropping downward",
    ),
    "spin": (
        "{it} {a} spinning", "{it} {a} spins", "{a} rotating", "{it} {a} rotates",
        "{it} {a} turning around", "{a} twirling", "{it} {a} spins on a turntable",
        "{a} turntable", "{a} revolving", "{it} {a} rotates in place", "{a} 360 spin",
        "{it} turns {a}", "rotating product", "{a} rotation", "{it} {a} spins {w}",
        "{it} rotates {w} {a}", "{a} spinning {w}", "{it} {a} twirls",
    ),
    "zoom in": (
        "camera {a} zooming in", "camera {a} zooms in", "{s} zoom in", "{s} push in",
        "{s} dolly in", "the camera {a} pushes in", "the camera moves {a} closer", "zooming in {a}",
        "camera {a} dollies in", "the shot {a} zooms in on {it}", "{a} getting closer",
        "camera {a} moving in", "{s} zoom in on {it}", "{s} close in", "{s} camera push in",
        "{s} camera zoom in", "the camera {a} approaches {it}", "camera {a} moving closer",
    ),
    "zoom out": (
        "camera {a} zooming out", "camera {a} zooms out", "{s} zoom out", "{s} pull back",
        "{s} dolly out", "the camera {a} pulls back", "the camera moves {a} away",
        "zooming out {a}", "camera {a} dollies out", "the shot {a} zooms out from {it}",
        "camera {a} pulling away", "{s} pull out", "camera {a} moving back", "{s} camera pull back",
        "{s} camera zoom out", "the camera {a} backs away from {it}", "camera {a} pulls out",
    ),
    "pan left": (
        "camera {a} panning left", "camera {a} pans left", "{s} pan left", "{s} pan to the left",
        "the camera {a} pans to the left", "the camera {a} moves left", "panning left {a}",
        "camera {a} tracking left", "{s} tracking shot to the left", "{s} camera pan left",
        "the camera {a} slides to the left", "the camera {a} trucks left", "{s} left pan",
        "the camera {a} pans from right to left", "camera {a} moving to the left",
    ),
    "pan right": (
        "camera {a} panning right", "camera {a} pans right", "{s} pan right",
        "{s} pan to the right", "the camera {a} pans to the right", "the camera {a} moves right",
        "panning right {a}", "camera {a} tracking right", "{s} tracking shot to the right",
        "{s} camera pan right", "the camera {a} slides to the right", "the camera {a} trucks right",
        "{s} right pan", "the camera {a} pans from left to right", "camera {a} moving to the right",
    ),
    "tilt": (
        "camera {a} tilting {w}", "camera {a} tilts {w}", "{s} tilt {w}", "{s} camera tilt {w}",
        "the camera {a} tilts {w}", "the camera {a} moves {w}", "tilting camera", "{s} tilt shot",
        "{s} vertical pan {w}", "tilting {w} {a}", "the camera {a} pans {w}", "camera tilt",
        "{s} tilt {w} shot",
    ),
    "orbit": (
        "camera {a} orbiting", "camera {a} orbits around {it}", "{s} orbit", "{s} orbit shot",
        "the camera {a} circles around {it}", "camera {a} circling {it}", "{s} arc shot",
        "camera {a} moves around {it}", "{s} orbit around {it}", "{s} camera orbit {w}",
        "the camera {a} rotates around {it}", "{s} orbiting camera", "camera {a} orbits {w}",
        "the camera {a} revolves around {it}", "{s} circular camera move", "{s} 360 orbit",
    ),
    "still": (
        "static shot", "still", "camera locked off", "{it} stays still", "motionless",
        "no movement", "static camera", "fixed camera", "{it} does not move", "standing still",
        "completely still", "locked off shot", "still shot", "stationary", "{it} is motionless",
        "no motion", "everything still",
    ),
}  # fmt: skip
SPEEDS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    # adverbs, adjectives
    "slow": (("slowly", "gently", "gradually", "softly"), ("slow", "gentle", "gradual")),
    "fast": (("quickly", "fast", "rapidly", "swiftly"), ("fast", "quick", "rapid", "swift")),
}
WAYS: dict[str, tuple[str, str]] = {  # what a movement's sign means; positive first
    "spin": ("clockwise", "counterclockwise"),
    "tilt": ("up", "down"),
    "orbit": ("right", "left"),
}
ACCENTS: dict[str, tuple[str, ...]] = {
    "white": ("white",),
    "black": ("black",),
    "gold": ("gold", "golden"),
}
PARTS: dict[str, tuple[str, ...]] = {  # the part in a second colour; cube, cone and star have none
    "bottle": ("cap", "top", "lid"),
    "can": ("label", "band"),
    "box": ("label", "sticker"),
    "tube": ("cap", "top"),
    "jar": ("lid", "cap", "top"),
    "ball": ("stripe", "band"),
    "ring": ("gem", "stone"),
}
GENERIC = ("product", "item", "object", "thing")
BACKDROPS = ("background", "backdrop", "surface", "seamless background", "wall")
OPENINGS = (
    "product video of", "a product video of", "a commercial shot of", "commercial of",
    "an advertising clip of", "cinematic shot of", "a video of", "advertisement for",
    "a studio shot of", "professional product shot of", "an elegant advert showing", "close up of",
    "hero shot of", "we see", "there is", "a beautiful clip with", "showcase of", "shot of",
    "premium product commercial featuring", "social media ad of", "photo of", "footage of",
)  # fmt: skip
ADJECTIVES = (
    "shiny", "new", "elegant", "modern", "luxury", "premium", "glossy", "small", "simple", "single",
    "beautiful", "sleek", "stylish", "fresh", "large", "matte", "plain", "minimal",
)  # fmt: skip
EXTRAS = (
    "studio lighting", "soft light", "cinematic", "4k", "high detail", "smooth motion",
    "advertising", "commercial photography", "sharp focus", "high quality", "professional lighting",
    "minimalist", "product photography", "8k", "clean composition", "soft shadows", "ultra hd",
    "vibrant colors", "realistic", "centered composition", "depth of field", "no text",
    "seamless loop", "bright lighting", "warm light", "natural light", "highly detailed",
    "smooth camera movement", "consistent lighting", "premium look", "photorealistic", "elegant",
    "steady shot", "crisp", "in focus", "16 fps", "hd", "masterpiece", "for an online shop",
)  # fmt: skip
JUNK = (
    "blurry", "low quality", "distorted", "watermark", "text", "deformed", "flicker", "noise",
    "ugly", "worst quality", "artifacts", "jpeg artifacts", "overexposed", "bad anatomy", "logo",
    "oversaturated", "subtitles", "jitter", "bad quality", "duplicate", "cropped", "out of focus",
)  # fmt: skip
GLUE = (
    "a an the on in at of with and over by to from is are its it this that against front standing "
    "placed sitting set while as then video camera shot scene background colour color colored "
    "coloured shape shaped frame showing features style look view motion movement moving slow fast "
    "product resting before behind has having under around for across upon"
)
UNKNOWN = ("zorvex", "qumbla", "tindrel", "brixo", "acme", "lumora", "vantiq", "solenne")  # brands

HELD_OUT_SHARE = 10  # one combination in this many is never trained on


@dataclass(frozen=True)
class Scene:
    """One clip's attributes, each an index into the table of its name."""

    colour: int
    shape: int
    background: int
    movement: int
    speed: int  # 0 slow, 1 unnamed, 2 fast
    sign: int  # +1 or -1: the way of spin, tilt and orbit
    accent: int


def names(table: dict[str, object]) -> list[str]:
    """The attribute names of a table, in index order."""
    return list(table)


def held_out(colour: int, shape: int, background: int, movement: int) -> bool:
    """Whether this combination is kept from training; fixed for ever by a hash of its names."""
    key = "|".join(
        names(table)[index]
        for table, index in (
            (COLOURS, colour), (SHAPES, shape), (BACKGROUNDS, background), (MOVEMENTS, movement),
        )
    )  # fmt: skip
    return hashlib.sha256(key.encode()).digest()[0] % HELD_OUT_SHARE == 0


def vocabulary() -> list[str]:
    """Every known word, sorted. UNKNOWN is left out on purpose: it stands for brand names."""
    texts: list[str] = [GLUE]
    for table in (COLOURS, SHAPES, BACKGROUNDS, MOVEMENTS, WAYS, ACCENTS, PARTS):
        for phrases in table.values():
            texts.extend(phrases)
    for adverbs, adjectives in SPEEDS.values():
        texts.extend(adverbs + adjectives)
    for phrases in (GENERIC, BACKDROPS, OPENINGS, ADJECTIVES, EXTRAS, JUNK):
        texts.extend(phrases)
    return sorted(set(re.findall("[a-z0-9]+", re.sub(r"\{\w+\}", " ", " ".join(texts)).lower())))


def caption(scene: Scene, rng: random.Random, *, full: bool = False, without: str = "") -> str:
    """Word a scene; attributes are left out at random, and sometimes all but one of them.

    `full` names them all; `without` leaves that one out.
    """
    # 1. Nothing at all (the unconditional half of CFG), or what people put in negative prompts.
    lot = 1.0 if full or without else rng.random()
    if lot < 0.08:
        return ""
    if lot < 0.10:
        return ", ".join(rng.sample(JUNK, rng.randint(1, 6)))

    # 2. Which attributes are named. One alone teaches what "red" in a negative prompt means.
    keep = {"colour": 0.92, "shape": 0.95, "background": 0.90, "movement": 0.82}
    if lot < 0.17:
        only = rng.choice(list(keep))
        keep = {key: float(key == only) for key in keep}
    named = {k for k, share in keep.items() if full or without or rng.random() < share} - {without}

    # 3. The phrases.
    subject = _subject(scene, named, rng)
    background = _background(scene, rng) if "background" in named else ""
    movement = _movement(scene, named, rng) if "movement" in named else ""

    # 4. Put them in one of many orders, dress and finish.
    text = _arrange(subject, background, movement, rng)
    if rng.random() < 0.5:
        extras = rng.sample(EXTRAS, rng.choice((1, 1, 2, 2, 3, 4, 6)))
        text = f"{text}, {', '.join(extras)}" if rng.random() < 0.85 else f"{extras[0]}, {text}"
    return _finish(text, rng)


def _subject(scene: Scene, named: set[str], rng: random.Random) -> str:
    """Word the product: "a shiny red bottle with a gold cap"; empty if neither part is named."""
    if not named & {"colour", "shape"}:
        return rng.choice(("", "", "a product", f"the {rng.choice(GENERIC)}"))
    shape_name = names(SHAPES)[scene.shape]
    colour = _common_first(COLOURS[names(COLOURS)[scene.colour]], rng) if "colour" in named else ""
    if "shape" not in named:
        if len(named) == 1 and rng.random() < 0.5:
            return colour
        noun = rng.choice(GENERIC)
    else:
        noun = _common_first(SHAPES[shape_name], rng)
    if colour and rng.random() < 0.05:
        colour += rng.choice((" coloured", " colored"))
    words = [colour, noun]
    if rng.random() < 0.2:
        words.insert(0, rng.choice(ADJECTIVES))
    if rng.random() < 0.04:
        words.insert(rng.randint(0, len(words)), rng.choice(UNKNOWN))
    text = " ".join(word for word in words if word)
    if rng.random() < 0.7:
        text = f"{'an' if text[0] in 'aeiou' and rng.random() < 0.9 else 'a'} {text}"
    elif rng.random() < 0.3:
        text = f"the {text}"
    if "shape" in named and shape_name in PARTS and rng.random() < 0.25:
        accent = rng.choice(ACCENTS[names(ACCENTS)[scene.accent]])
        part = rng.choice(PARTS[shape_name])
        text += rng.choice((f" with a {accent} {part}", f" with {accent} {part}"))
    return text


def _background(scene: Scene, rng: random.Random) -> str:
    """Word the background with or without a preposition."""
    text = _common_first(BACKGROUNDS[names(BACKGROUNDS)[scene.background]], rng)
    backdrop = "background" if rng.random() < 0.6 else rng.choice(BACKDROPS)
    text = text.replace("{bg}", backdrop)
    if rng.random() < 0.05:
        text = text.replace(" background", "")  # "on white"
    lot = rng.random()
    if lot < 0.2:
        return text
    place = "on" if lot < 0.65 else rng.choice(("against", "in front of", "in", "over", "with"))
    return f"{place} {rng.choice(('a', 'a', 'the', ''))} {text}"


def _movement(scene: Scene, named: set[str], rng: random.Random) -> str:
    """Word the movement, with its speed and its way in about half of the cases."""
    name = names(MOVEMENTS)[scene.movement]
    phrase = rng.choice(MOVEMENTS[name])
    adverb = adjective = way = ""
    if scene.speed != 1 and rng.random() < 0.65:
        adverbs, adjectives = SPEEDS["slow" if scene.speed == 0 else "fast"]
        adverb, adjective = _common_first(adverbs, rng), _common_first(adjectives, rng)
        if "{a}" not in phrase and "{s}" not in phrase and name != "still":
            phrase = f"{adjective} {phrase}" if not phrase.startswith("{it}") else phrase
    if name in WAYS and rng.random() < 0.6:
        way = WAYS[name][0 if scene.sign > 0 else 1]
    shape = rng.choice(SHAPES[names(SHAPES)[scene.shape]]) if "shape" in named else "product"
    it = rng.choice(("", "it", f"the {shape}", "the product", "which"))
    if name in ("zoom in", "zoom out", "orbit") and it in ("", "which"):
        it = "it"
    return phrase.format(a=adverb, s=adjective, w=way, it=it)


def _arrange(subject: str, background: str, movement: str, rng: random.Random) -> str:
    """Order the phrases: prose, subject, camera or place first, or a bare list."""
    opening = rng.choice(OPENINGS) if subject and rng.random() < 0.3 else ""
    subject = f"{opening} {subject}".strip()
    lot = rng.random()
    if lot < 0.40:
        order = [f"{subject} {background}", movement]
    elif lot < 0.60:
        order = [f"{subject} {movement}", background]
    elif lot < 0.75:
        joint = rng.choice((" on ", " of ", ", ", " "))
        order = [joint.join(part for part in (movement, subject) if part), background]
    elif lot < 0.85:
        order = [background, subject, movement]
    else:
        order = [subject, background, movement]
        rng.shuffle(order)
    joint = rng.choice((", ", ", ", ", ", ". ", " ", "; ", " - ", " and ", " while "))
    return joint.join(part.strip() for part in order if part.strip())


def _finish(text: str, rng: random.Random) -> str:
    """Tidy spaces, then capitals and a full stop as people use them."""
    text = re.sub(r"\s+", " ", text).replace(" ,", ",").strip()
    text = rng.choice((text, text, text.capitalize(), text.capitalize(), text.upper()))
    return text + rng.choice(("", "", ".", "!"))


def _common_first(options: tuple[str, ...], rng: random.Random) -> str:
    """The plain word in half of the cases, any synonym in the others."""
    return options[0] if rng.random() < 0.5 else rng.choice(options)
