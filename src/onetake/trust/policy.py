"""The operator's policy: what is blocked or reviewed, how takes are marked, what is logged.

It is one TOML file, named by `ONETAKE_POLICY`. A setting that the file leaves out has the default
below. `onetake policy` shows all settings.
"""

import tomllib
import unicodedata
from pathlib import Path
from typing import Literal

from PIL import Image, ImageFont
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from onetake.runtime.errors import SettingsError

Action = Literal["block", "flag", "allow"]  # flag: the take is made and waits for a reviewer
CATEGORIES = ("sexual", "minors", "violence", "hate", "self_harm", "real_persons", "brands")
VARIABLE = "ONETAKE_POLICY"
_LONGEST_NAME = 100  # characters


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Categories(_Section):
    """What happens to a job of each category."""

    sexual: Action = "block"
    minors: Literal["block"] = Field("block", description="Sexualised minors; always blocked")
    violence: Action = "block"
    hate: Action = "block"
    self_harm: Action = "block"
    real_persons: Action = Field("flag", description="Living public figures, by name")
    brands: Action = Field("flag", description="The names in `brands`")

    def action(self, category: str) -> Action:
        """The action for one of `CATEGORIES`."""
        action: Action = getattr(self, category)
        return action


class Marks(_Section):
    """The marks that a take carries."""

    metadata: bool = Field(default=True, description="The file says that it is generated")
    invisible: bool = Field(default=False, description="A short id in the pixels of every frame")
    c2pa: bool = Field(default=False, description="A signed C2PA manifest (MP4 and MOV)")
    certificate: Path | None = Field(
        None, description="PEM chain that signs it, leaf first; default: a test certificate"
    )
    private_key: Path | None = Field(None, description="PEM key of the leaf (P-256)")
    timestamp_url: str | None = Field(None, description="RFC 3161 authority that dates it")
    label: str = Field("", max_length=60, description="Words in a corner of every frame")
    logo: Path | None = Field(None, description="A PNG in that corner instead of words")
    sidecar: bool = Field(default=False, description="A JSON file of these facts beside the video")

    @field_validator("label")
    @classmethod
    def _check_label(cls, label: str) -> str:
        if label and not label.strip():
            raise ValueError("it shows nothing; leave it out or give words")
        if missing := _missing_letters(label):
            raise ValueError(f"its font lacks {missing}; write it otherwise, or give a logo")
        return label

    @field_validator("logo")
    @classmethod
    def _check_logo(cls, logo: Path | None) -> Path | None:
        if logo and logo.is_file():  # if not, `_check_combination` refuses it
            try:
                with Image.open(logo) as picture:
                    picture.convert("RGBA")
            except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
                raise ValueError("it is no picture that can be read; give a PNG") from None
        return logo

    @model_validator(mode="after")
    def _check_combination(self) -> "Marks":
        if (self.certificate is None) != (self.private_key is None):
            raise ValueError("certificate and private_key go together; give both or neither")
        if self.label and self.logo:
            raise ValueError("label and logo share one corner; give one of them")
        for path in (self.certificate, self.private_key, self.logo):
            if path and not path.is_file():
                raise ValueError("a file that it names is not there")
        return self


class Audit(_Section):
    """What the audit log holds."""

    enabled: bool = Field(default=False, description="Write a record for every job")
    prompts: bool = Field(default=False, description="With the prompt's text, not only its digest")


class Policy(_Section):
    """The whole policy."""

    categories: Categories = Categories()
    optional: bool = Field(
        default=True, description="A job may turn the checks off (`enable_safety_checker`)"
    )
    frames: float = Field(
        0.8, gt=0, le=1, description="Probability of nudity from which a picture counts as sexual"
    )
    brands: tuple[str, ...] = Field((), description="Names that are looked for in prompts")
    marks: Marks = Marks()
    audit: Audit = Audit()

    @field_validator("brands")
    @classmethod
    def _check_brands(cls, brands: tuple[str, ...]) -> tuple[str, ...]:
        for name in brands:
            if len(name) > _LONGEST_NAME:
                raise ValueError(f"a name is longer than {_LONGEST_NAME} characters")
            if not any(map(_is_visible, unicodedata.normalize("NFKC", name))):
                raise ValueError(f"{name!r} has neither letters nor digits to look for")
        return brands


def _is_visible(character: str) -> bool:
    """Whether the check of prompts reads it. Hangul's fillers are letters, but invisible."""
    return character.isalnum() and "FILLER" not in unicodedata.name(character, "")


def _missing_letters(label: str) -> str:
    """The characters that the label's font, Pillow's own, draws as an empty box."""
    font = ImageFont.load_default(24)

    def shape(character: str) -> tuple[object, ...]:
        mask = font.getmask(character)
        return (mask.size, *mask)

    empty_box = shape("\uffff")  # U+FFFF is never a character
    return ", ".join(repr(c) for c in dict.fromkeys(label) if shape(c) == empty_box)


def read_policy(path: Path | None) -> Policy:
    """The policy in a file; without one, the default policy.

    Raises:
        SettingsError: the file cannot be read, or it is not a policy.
    """
    if path is None:
        return Policy()
    try:
        return Policy.model_validate(tomllib.loads(path.read_text()))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingsError(VARIABLE, f"names no readable TOML file ({error})") from None
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"])) or "the policy"
        raise SettingsError(VARIABLE, f"{where}: {first['msg']}") from None
