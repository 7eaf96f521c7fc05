"""The operator's policy: what is blocked or reviewed, how takes are marked, what is written down.

One TOML file, named by `ONETAKE_POLICY`; what it leaves out has the default written here, and
`onetake policy` shows all of it.
"""

import tomllib
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from onetake.errors import SettingsError

Action = Literal["block", "flag", "allow"]  # flag: made, and kept back until somebody approves it
CATEGORIES = ("sexual", "minors", "violence", "hate", "self_harm", "real_persons", "brands")
VARIABLE = "ONETAKE_POLICY"


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Categories(_Part):
    """What happens to a job of each category."""

    sexual: Action = "block"
    minors: Literal["block"] = Field("block", description="Sexualised minors; always blocked")
    violence: Action = "block"
    hate: Action = "block"
    self_harm: Action = "block"
    real_persons: Action = Field("flag", description="Living public figures, by name")
    brands: Action = Field("flag", description="The names in `brands`")

    def action(self, category: str) -> Action:
        """That of one of `CATEGORIES`."""
        action: Action = getattr(self, category)
        return action


class Marks(_Part):
    """What a take carries; `onetake verify` reads all of it."""

    metadata: bool = Field(default=True, description="Say in the file that it is generated")
    invisible: bool = Field(default=False, description="A short id in the pixels of every frame")
    c2pa: bool = Field(default=False, description="A signed C2PA manifest (MP4 and MOV)")
    certificate: Path | None = Field(
        None, description="PEM chain that signs it, the leaf first; unset: a test certificate"
    )
    private_key: Path | None = Field(None, description="PEM key of the leaf (P-256)")
    timestamp_url: str | None = Field(None, description="RFC 3161 authority that dates it")
    label: str = Field("", max_length=60, description="Words in a corner of every frame")
    logo: Path | None = Field(None, description="A PNG in that corner instead")
    sidecar: bool = Field(default=False, description="A JSON of the same facts beside the video")

    @model_validator(mode="after")
    def _pairs(self) -> "Marks":
        if (self.certificate is None) != (self.private_key is None):
            raise ValueError("certificate and private_key go together; give both or neither")
        if self.label and self.logo:
            raise ValueError("label and logo share one corner; give one of them")
        for path in (self.certificate, self.private_key, self.logo):
            if path and not path.is_file():
                raise ValueError("a file that it names is not there")
        return self


class Audit(_Part):
    """What the log of takes holds."""

    enabled: bool = Field(default=False, description="Write a record for every job")
    prompts: bool = Field(default=False, description="With the prompt itself, not its digest alone")


class Policy(_Part):
    """All of it."""

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
    def _named(cls, brands: tuple[str, ...]) -> tuple[str, ...]:
        if any(not name.strip() for name in brands):
            raise ValueError("a brand has no name")
        return brands


def read_policy(path: Path | None) -> Policy:
    """The policy in a file, or the default.

    Raises:
        SettingsError: it cannot be read, or holds something that is no policy.
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
