"""An S3-compatible bucket, with links that expire."""

import contextlib
import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import boto3
from boto3.exceptions import Boto3Error
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from botocore.utils import is_valid_endpoint_url
from pydantic import SecretStr

from onetake.delivery.storage import DIFFERS
from onetake.runtime.errors import JobError, StageError
from onetake.runtime.settings import Settings
from onetake.runtime.wording import shown

_PART_BYTES = 16 << 20
_TRANSFER = TransferConfig(multipart_threshold=_PART_BYTES, multipart_chunksize=_PART_BYTES)
_MD5 = re.compile(r"[0-9a-f]{32}")
_MD5_OF_PARTS = re.compile(r"[0-9a-f]{32}-\d+")
_md5 = partial(hashlib.md5, usedforsecurity=False)

_ABSENT = {"NoSuchKey", "404"}  # a bare number comes from an answer without a body
# Each says what to check, by the name under which the bucket's owner set it.
_REASONS = {
    "NoSuchBucket": "the bucket does not exist; check {bucket}",
    "InvalidAccessKeyId": "the bucket does not know the key; check {key}",
    "SignatureDoesNotMatch": "the bucket refused the secret; check {secret}",
    "AccessDenied": "the key may not read, write or delete in the bucket; check its policy",
    "403": "the key may not read what it wrote to the bucket; check its policy",
    "404": "the bucket does not hold what was sent; send the job again",
    "AuthorizationHeaderMalformed": "the bucket is in another region; check {region}",
    "PermanentRedirect": "the bucket is in another region; check {region}",
}
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
# For each key of `s3Config`, what its value looks like, and what to do about one that does not.
_S3_CONFIG = {
    "accessId": (re.compile(r"[!-~]+"), _NO_KEY),
    "accessSecret": (re.compile(r"[!-~]+"), _NO_KEY),
    "bucketName": (
        re.compile(r"[a-z0-9][a-z0-9._-]{0,254}", re.IGNORECASE | re.ASCII),
        "is no bucket's name; give the name alone, such as clips",
    ),
    # No user, query or fragment: all readers of an address agree on the host of the rest.
    "endpointUrl": (
        re.compile(r"https?://[a-z0-9.-]+(:\d+)?(/[\w.~%/-]*)?", re.IGNORECASE | re.ASCII),
        _NO_ADDRESS,
    ),
}


@dataclass(frozen=True)
class Access:
    """A bucket and the way to it; ``names`` are what its owner calls the values."""

    endpoint_url: str
    key: SecretStr
    secret: SecretStr
    bucket: str
    region: str
    names: Mapping[str, str]


class S3Store:
    """Objects of one bucket. boto3 sends large files in parts and retries what fails."""

    def __init__(self, access: Access, prefix: str, link_expiry: int) -> None:
        self._access = access
        self._prefix = prefix
        self._link_expiry = link_expiry
        self._client: Any = boto3.client(
            "s3",
            endpoint_url=access.endpoint_url,
            aws_access_key_id=access.key.get_secret_value(),
            aws_secret_access_key=access.secret.get_secret_value(),
            region_name=access.region,
            config=Config(
                signature_version="s3v4",
                s3={"addressing_style": "path"},
                retries={"mode": "standard", "max_attempts": 5},
                connect_timeout=10,
                read_timeout=60,
                # Checksums of the newer kind are refused by many S3-compatible servers.
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
            ),
        )

    def put(self, file: Path, key: str, content_type: str) -> str:
        """See `Store.put`; the link is a presigned GET."""
        with self._failures():
            self._client.upload_file(
                str(file),
                **self._object(key),
                ExtraArgs={"ContentType": content_type},
                Config=_TRANSFER,
            )
            head = self._client.head_object(**self._object(key))
            same = head["ContentLength"] == file.stat().st_size and self._matches(file, key, head)
        if not same:
            raise self._refusal(file, key, head)
        return self.link(key)

    def read(self, key: str) -> bytes | None:
        """See `Store.read`."""
        with self._failures():
            try:
                content: bytes = self._client.get_object(**self._object(key))["Body"].read()
            except ClientError as error:
                if error.response["Error"]["Code"] in _ABSENT:
                    return None
                raise
        return content

    def delete(self, key: str) -> None:
        """See `Store.delete`."""
        with self._failures():
            try:
                self._client.delete_object(**self._object(key))
            except ClientError as error:  # most servers do not mind, some answer 404
                if error.response["Error"]["Code"] not in _ABSENT:
                    raise

    def keys(self, prefix: str) -> list[str]:
        """See `Store.keys`."""
        whole = self._object(prefix)
        with self._failures():
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=whole["Bucket"], Prefix=whole["Key"]
            )
            found = [item["Key"] for page in pages for item in page.get("Contents", [])]
        return sorted(key.removeprefix(self._prefix) for key in found)

    def move(self, key: str, to: str) -> None:
        """See `Store.move`: a copy, in one piece (5 GiB at most), and only then a deletion."""
        with self._failures():
            self._client.copy_object(CopySource=self._object(key), **self._object(to))
        self.delete(key)

    def link(self, key: str) -> str:
        """See `Store.link`; no server is asked."""
        with self._failures():
            link: str = self._client.generate_presigned_url(
                "get_object", Params=self._object(key), ExpiresIn=self._link_expiry
            )
        return link

    def _object(self, key: str) -> dict[str, str]:
        return {"Bucket": self._access.bucket, "Key": f"{self._prefix}{key}"}

    def _matches(self, file: Path, key: str, head: Mapping[str, Any]) -> bool:
        """Whether the stored checksum is the file's, as far as the ETag tells.

        Servers differ: a file sent in parts has the MD5 of the parts' MD5s (AWS, SeaweedFS) or the
        MD5 of the whole (rclone). Under KMS an ETag looks like an MD5 and is none, and one of
        another form is the server's own; neither says anything.
        """
        etag = str(head.get("ETag", "")).strip('"').lower()
        if str(head.get("ServerSideEncryption", "")).startswith("aws:kms"):
            return True
        if _MD5.fullmatch(etag):
            return etag == _md5_of(file)
        if _MD5_OF_PARTS.fullmatch(etag) and etag != _md5_of_parts(file):
            # A few servers (Alibaba, MinIO with --no-compat) put something else before the dash,
            # and no take may be lost for that: the content itself decides.
            return self._stored_md5(key) == _md5_of(file)
        return True

    def _stored_md5(self, key: str) -> str:
        digest = _md5()
        body = self._client.get_object(**self._object(key))["Body"]
        for chunk in body.iter_chunks(1 << 20):
            digest.update(chunk)
        return digest.hexdigest()

    def _refusal(self, file: Path, key: str, head: Mapping[str, Any]) -> StageError:
        """Delete what is not the file; gives the error that says so."""
        detail = (
            f"sent {file.stat().st_size} bytes with MD5 {_md5_of(file)}, "
            f"stored {head['ContentLength']} bytes with ETag {head.get('ETag')}"
        )
        try:
            self.delete(key)
        except StageError as error:
            detail = f"{detail}, not deleted: {error.detail}"
        return StageError("store", DIFFERS, detail=detail)

    @contextlib.contextmanager
    def _failures(self) -> Iterator[None]:
        """Boto's errors as ours, none of which is chained: their words may hold the key."""
        try:
            yield
        except (BotoCoreError, ClientError, Boto3Error) as error:
            detail = str(error)
            for secret in (self._access.key, self._access.secret):
                # Stripped, since an error quotes a line break that a key may end with.
                if word := secret.get_secret_value().strip():
                    detail = detail.replace(word, "***")
            raise StageError("store", self._reason(str(error)), detail=detail) from None

    def _reason(self, words: str) -> str:
        """What the owner should check; the server's own words may hold hosts and keys."""
        code = re.search(r"An error occurred \((\w+)\)", words)
        if code and code[1] in _REASONS:
            return _REASONS[code[1]].format_map(self._access.names)
        return "the bucket could not be reached or refused the request; check its address"


def open_store(settings: Settings) -> S3Store:
    """The bucket of the ``BUCKET_*`` variables, which `Settings.read` found complete."""
    bucket = settings.bucket_name or ""
    access = Access(
        endpoint_url=_endpoint(settings.bucket_endpoint_url or "", bucket),
        key=settings.bucket_access_key_id or SecretStr(""),
        secret=settings.bucket_secret_access_key or SecretStr(""),
        bucket=bucket,
        region=settings.bucket_region,
        names=_VARIABLES,
    )
    return S3Store(access, settings.bucket_prefix, settings.link_expiry)


def open_job_store(
    config: Mapping[str, object], settings: Settings, is_public_host: Callable[[str], bool]
) -> S3Store:
    """See `storage.open_job_store`."""
    values = _job_values(config)
    endpoint = _endpoint(values["endpointUrl"], values["bucketName"])
    if not _can_be_reached(endpoint):
        raise JobError("s3Config.endpointUrl", _NO_ADDRESS)
    # The host without the bucket's name is the one that is connected to.
    host = urlsplit(endpoint).hostname or ""
    if not settings.allow_private_inputs and not is_public_host(host):
        raise JobError(
            "s3Config.endpointUrl",
            "leads to a private address, or to none; give a public one",
            code="input_forbidden",
        )
    access = Access(
        endpoint_url=endpoint,
        key=SecretStr(values["accessId"]),
        secret=SecretStr(values["accessSecret"]),
        bucket=values["bucketName"],
        region=settings.bucket_region,
        names=_FIELDS,
    )
    return S3Store(access, settings.bucket_prefix, settings.link_expiry)


def _job_values(config: Mapping[str, object]) -> dict[str, str]:
    """The four values of a request's `s3Config`, each in its form."""
    known = ", ".join(_S3_CONFIG)
    if not isinstance(config, Mapping):  # it comes from outside as it was sent
        raise JobError("s3Config", f"is no object; give {known}")
    given = {name: value for name, value in config.items() if value is not None}
    for name in given:
        if name not in _S3_CONFIG:
            field = f"s3Config.{shown(name)[1:-1]}"
            raise JobError(field, f"is no field of s3Config; give {known}", code="unknown_field")
    values: dict[str, str] = {}
    for name, (form, problem) in _S3_CONFIG.items():
        value = given.get(name)
        if value is None:
            raise JobError(f"s3Config.{name}", f"is missing; give {known}")
        if not isinstance(value, str) or not value:
            raise JobError(f"s3Config.{name}", "is no text, or empty; give it as text")
        if not form.fullmatch(value):
            raise JobError(f"s3Config.{name}", problem)
        values[name] = value
    return values


def _can_be_reached(url: str) -> bool:
    """Whether ``url`` has a host and a port that there can be."""
    try:
        urlsplit(url).port  # noqa: B018 - it is read here to see whether it can be
    except ValueError:
        return False
    return bool(is_valid_endpoint_url(url))


def _endpoint(url: str, bucket: str) -> str:
    """``url`` without the bucket that RunPod's examples put before its host or in its path."""
    parts = urlsplit(url)
    host = parts.netloc.removeprefix(f"{bucket}.")
    path = parts.path.rstrip("/").removesuffix(f"/{bucket}")
    return urlunsplit((parts.scheme, host, path, "", ""))


def _md5_of(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, _md5).hexdigest()


def _md5_of_parts(file: Path) -> str:
    """The ETag of a file sent in parts: the MD5 of their MD5s, and how many there are."""
    with file.open("rb") as opened:
        parts = [_md5(part).digest() for part in iter(lambda: opened.read(_PART_BYTES), b"")]
    return f"{_md5(b''.join(parts)).hexdigest()}-{len(parts)}"
