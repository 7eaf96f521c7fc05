"""The objects of one bucket, with links that expire."""

import contextlib
import hashlib
import re
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import boto3
from boto3.exceptions import Boto3Error
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from onetake.delivery.storage import DIFFERS
from onetake.delivery.storage.s3.access import Access
from onetake.runtime.errors import StageError

_PART_BYTES = 16 << 20
_TRANSFER = TransferConfig(multipart_threshold=_PART_BYTES, multipart_chunksize=_PART_BYTES)
_MD5 = re.compile(r"[0-9a-f]{32}")
_MD5_OF_PARTS = re.compile(r"[0-9a-f]{32}-\d+")
_md5 = partial(hashlib.md5, usedforsecurity=False)

_ABSENT = {"NoSuchKey", "404"}  # a bare number comes from an answer without a body
# By the server's error code: what to check, in the names under which the bucket's owner set it.
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
                # Many S3-compatible servers refuse the newer checksums.
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
            self._refuse(file, key, head)
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
            except ClientError as error:  # a few servers answer 404; most do not mind
                if error.response["Error"]["Code"] not in _ABSENT:
                    raise

    def keys(self, prefix: str) -> list[str]:
        """See `Store.keys`."""
        whole = self._object(prefix)
        with self._failures():
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=whole["Bucket"], Prefix=whole["Key"]
            )
            keys = [item["Key"] for page in pages for item in page.get("Contents", [])]
        return sorted(key.removeprefix(self._prefix) for key in keys)

    def move(self, key: str, to: str) -> None:
        """See `Store.move`: a copy in one piece (5 GiB at most), then a deletion."""
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
        """Whether the stored checksum is the file's, as far as the ETag says.

        Servers differ: a file sent in parts has the MD5 of the parts' MD5s (AWS, SeaweedFS) or the
        MD5 of the whole (rclone). Under KMS an ETag looks like an MD5 but is none. An ETag of
        another form is the server's own. Neither of the two proves anything.
        """
        etag = str(head.get("ETag", "")).strip('"').lower()
        if str(head.get("ServerSideEncryption", "")).startswith("aws:kms"):
            return True
        if _MD5.fullmatch(etag):
            return etag == _md5_of(file)
        if _MD5_OF_PARTS.fullmatch(etag) and etag != _md5_of_parts(file):
            # A few servers (Alibaba, MinIO with --no-compat) put something else before the dash.
            # No take may be lost for that, so the content itself is compared.
            return self._stored_md5(key) == _md5_of(file)
        return True

    def _stored_md5(self, key: str) -> str:
        digest = _md5()
        body = self._client.get_object(**self._object(key))["Body"]
        for chunk in body.iter_chunks(1 << 20):
            digest.update(chunk)
        return digest.hexdigest()

    def _refuse(self, file: Path, key: str, head: Mapping[str, Any]) -> NoReturn:
        """Delete an object that is not the file, and raise the StageError that says so."""
        detail = (
            f"sent {file.stat().st_size} bytes with MD5 {_md5_of(file)}, "
            f"stored {head['ContentLength']} bytes with ETag {head.get('ETag')}"
        )
        try:
            self.delete(key)
        except StageError as error:
            detail = f"{detail}, not deleted: {error.detail}"
        raise StageError("store", DIFFERS, detail=detail)

    @contextlib.contextmanager
    def _failures(self) -> Iterator[None]:
        """Raise boto's errors as a StageError, not chained: their text may hold the key."""
        try:
            yield
        except (BotoCoreError, ClientError, Boto3Error) as error:
            message = detail = str(error)
            for secret in (self._access.key, self._access.secret):
                # Stripped, since an error quotes a line break that a key may end with.
                if word := secret.get_secret_value().strip():
                    detail = detail.replace(word, "***")
            raise StageError("store", self._reason(message), detail=detail) from None

    def _reason(self, message: str) -> str:
        """What the owner should check; the server's own text may hold hosts and keys."""
        code = re.search(r"An error occurred \((\w+)\)", message)
        if code and code[1] in _REASONS:
            return _REASONS[code[1]].format_map(self._access.names)
        return "the bucket could not be reached or refused the request; check its address"


def _md5_of(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, _md5).hexdigest()


def _md5_of_parts(file: Path) -> str:
    """The ETag of a file sent in parts: the MD5 of their MD5s, and how many there are."""
    with file.open("rb") as opened:
        parts = [_md5(part).digest() for part in iter(lambda: opened.read(_PART_BYTES), b"")]
    return f"{_md5(b''.join(parts)).hexdigest()}-{len(parts)}"
