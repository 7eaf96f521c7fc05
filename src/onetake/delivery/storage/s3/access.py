"""Which bucket, where it is, and the key for it: from the settings, or from a job's `s3Config`."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit, urlunsplit

from pydantic import SecretStr

from onetake.runtime.errors import JobError
from onetake.runtime.settings import Settings
from onetake.runtime.wording import shown

_VARIABLES = {
    "bucket": "BUCKET_NAME",
    "key": "BUCKET_ACCESS_KEY_ID",
    "secret": "BUCKET_SECRET_ACCESS_KEY",
    "region": "BUCKET_REGION",
}
_FIELDS = {
    "bucket": "s3Config.bucketName",
    "key": "s3Config.accessId",
    "secret": "s3Config.accessSecret",
    "region": "s3Config.endpointUrl",
}

_NO_ADDRESS = "is no web address; write it like https://s3.example.com"
_NO_KEY = "holds a space, a line break or a letter outside ASCII; copy it again"
# For each key of `s3Config`: the form of its value, and what to do about one in another form.
_S3_CONFIG = {
    "accessId": (re.compile(r"[!-~]+"), _NO_KEY),
    "accessSecret": (re.compile(r"[!-~]+"), _NO_KEY),
    "bucketName": (
        re.compile(r"[a-z0-9][a-z0-9._-]{0,254}", re.IGNORECASE | re.ASCII),
        "is no bucket's name; give the name alone, such as clips",
    ),
    # No user, query or fragment: every parser reads the same host from the rest.
    "endpointUrl": (
        re.compile(r"https?://[a-z0-9.-]+(:\d+)?(/[\w.~%/-]*)?", re.IGNORECASE | re.ASCII),
        _NO_ADDRESS,
    ),
}


@dataclass(frozen=True)
class Access:
    """A bucket and how to reach it; ``names`` are what its owner calls the values."""

    endpoint_url: str
    key: SecretStr
    secret: SecretStr
    bucket: str
    region: str
    names: Mapping[str, str]


def operator_access(settings: Settings) -> Access:
    """The bucket of the ``BUCKET_*`` variables."""
    bucket = settings.bucket_name or ""
    return Access(
        endpoint_url=without_bucket(settings.bucket_endpoint_url or "", bucket),
        key=settings.bucket_access_key_id or SecretStr(""),
        secret=settings.bucket_secret_access_key or SecretStr(""),
        bucket=bucket,
        region=settings.bucket_region,
        names=_VARIABLES,
    )


def job_access(
    config: Mapping[str, object], settings: Settings, is_public_host: Callable[[str], bool]
) -> Access:
    """The bucket of a request's `s3Config`.

    Raises:
        JobError: names the wrong key of ``config``, never its value.
    """
    values = _job_values(config)
    endpoint = without_bucket(values["endpointUrl"], values["bucketName"])
    if not _has_valid_host(endpoint):
        raise JobError("s3Config.endpointUrl", _NO_ADDRESS)
    # The host without the bucket's name is the one that is connected to.
    host = urlsplit(endpoint).hostname or ""
    if not settings.allow_private_inputs and not is_public_host(host):
        raise JobError(
            "s3Config.endpointUrl",
            "leads to a private address, or to none; give a public one",
            code="input_forbidden",
        )
    return Access(
        endpoint_url=endpoint,
        key=SecretStr(values["accessId"]),
        secret=SecretStr(values["accessSecret"]),
        bucket=values["bucketName"],
        region=settings.bucket_region,
        names=_FIELDS,
    )


def without_bucket(url: str, bucket: str) -> str:
    """``url`` without the bucket, which RunPod's examples put before its host or in its path."""
    parts = urlsplit(url)
    host = parts.netloc.removeprefix(f"{bucket}.")
    path = parts.path.rstrip("/").removesuffix(f"/{bucket}")
    return urlunsplit((parts.scheme, host, path, "", ""))


def _job_values(config: Mapping[str, object]) -> dict[str, str]:
    """The four values of a request's `s3Config`, each in its form."""
    names = ", ".join(_S3_CONFIG)
    if not isinstance(config, Mapping):  # it comes from outside, as it was sent
        raise JobError("s3Config", f"is no object; give {names}")
    fields = {name: value for name, value in config.items() if value is not None}
    for name in fields:
        if name not in _S3_CONFIG:
            field = f"s3Config.{shown(name)[1:-1]}"
            raise JobError(field, f"is no field of s3Config; give {names}", code="unknown_field")
    values: dict[str, str] = {}
    for name, (form, problem) in _S3_CONFIG.items():
        value = fields.get(name)
        if value is None:
            raise JobError(f"s3Config.{name}", f"is missing; give {names}")
        if not isinstance(value, str) or not value:
            raise JobError(f"s3Config.{name}", "is no text, or empty; give it as text")
        if not form.fullmatch(value):
            raise JobError(f"s3Config.{name}", problem)
        values[name] = value
    return values


def _has_valid_host(url: str) -> bool:
    """Whether the host and the port of ``url`` are valid."""
    try:
        urlsplit(url).port  # noqa: B018 - reading it raises for a port that is out of range
    except ValueError:
        return False
    from botocore.utils import is_valid_endpoint_url  # noqa: PLC0415 - other stores need none

    return bool(is_valid_endpoint_url(url))
