"""The tables of README and of the command line, made from the code: header first, then rows."""

from typing import Any

from onetake.jobs.limits import MAX_SEED
from onetake.jobs.request import SYNONYMS, Job, schema
from onetake.models.catalogue import MODELS
from onetake.runtime.profiles import PROFILES
from onetake.runtime.settings import Settings

Rows = list[tuple[str, ...]]


def models() -> Rows:
    """Every model, with the limits of one segment."""
    rows: Rows = [("model", "takes", "size", "fps", "longest segment", "extends", "licence")]
    for spec in MODELS.values():
        (width, height), segment = spec.segment.sizes[0], spec.segment
        seconds = segment.max_frames / segment.native_fps
        rows.append(
            (
                spec.name,
                "text, image, both" if spec.takes_image else "text",
                f"{width}x{height}",
                str(segment.native_fps),
                f"{segment.max_frames} frames, {seconds:.1f} s",
                "yes" if spec.overlaps else "no",
                spec.licence,
            )
        )
    return rows


def profiles() -> Rows:
    """Every profile and its promise."""
    return [("profile", "promise"), *((p.name, p.promise) for p in PROFILES.values())]


def settings() -> Rows:
    """Every environment variable."""
    rows: Rows = [("variable", "default", "meaning")]
    for name, field in Settings.model_fields.items():
        alias = field.validation_alias
        variable = alias if isinstance(alias, str) else f"ONETAKE_{name.upper()}"
        default = "" if field.default is None else str(field.default)
        rows.append((f"`{variable}`", default, field.description or ""))
    return rows


def fields(job: type[Job] = Job) -> Rows:
    """Every field of a request."""
    rows: Rows = [("field", "also called", "takes", "meaning")]
    properties = schema(job)["properties"]
    for name, field in job.model_fields.items():
        synonyms = ", ".join(f"`{s}`" for s, canonical in SYNONYMS.items() if canonical == name)
        rules = properties[name]["anyOf"][0]
        rows.append((f"`{name}`", synonyms, _legal(rules), field.description or ""))
    return rows


def _legal(rules: dict[str, Any]) -> str:
    """The values that a rule of the schema allows, in words."""
    if "enum" in rules:
        return ", ".join(rules["enum"])
    kind = {"integer": "whole number", "string": "text", "boolean": "true, false"}.get(
        rules.get("type", "object"), rules.get("type", "object")
    )
    if "maximum" in rules:
        kind = f"{kind}, {rules['minimum']:g} to {_number(rules['maximum'])}"
    elif "minimum" in rules:
        kind = f"{kind}, from {rules['minimum']:g}"
    elif "maxLength" in rules:
        kind = f"{kind}, up to {rules['maxLength']} characters"
    return f"{kind}, even" if rules.get("multipleOf") == 2 else kind  # noqa: PLR2004 - pixels


def _number(value: float) -> str:
    return "2^53 - 1" if value == MAX_SEED else f"{value:g}"
