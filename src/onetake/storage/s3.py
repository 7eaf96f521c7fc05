"""An S3-compatible bucket, with links that expire."""

import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import boto3
from boto3.exceptions import Boto3Error
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from pydantic import SecretStr

from onetake.errors import StageError
from onetake.settings import Settings

_TRANSFER = TransferConfig(multipart_threshold=16 << 20, multipart_chunksize=16 << 20)
_REASONS = {
    "NoSuchBucket": "the bucket does not exist; check BUCKET_NAME",
    "InvalidAccessKeyId": "the bucket does not know the key; check BUCKET_ACCESS_KEY_ID",
    "SignatureDoesNotMatch": "the bucket refused the secret; check BUCKET_SECRET_ACCESS_KEY",
    "AccessDenied": "the key may not write to the bucket; check its policy",
    "AuthorizationHeaderMalformed": "the bucket is in another region; check BUCKET_REGION",
    "PermanentRedirect": "the bucket is in another region; check BUCKET_REGION",
}


class S3Store:
    """Objects of one bucket. boto3 sends large files in parts and retries what fails."""

    def __init__(self, client: Any, bucket: str, prefix: str, link_expiry: int) -> None:
        self._client = client
        self._bucket = bucket
        self._prefix = prefix
        self._link_expiry = link_expiry

    def put(self, file: Path, key: str, content_type: str) -> str:
        """See `Store.put`; the link is a presigned GET."""
        name = f"{self._prefix}{key}"
        try:
            self._client.upload_file(
                str(file),
                self._bucket,
                name,
                ExtraArgs={"ContentType": content_type},
                Config=_TRANSFER,
            )
            link: str = self._client.generate_presigned_url(
                "get_object",
                Params={"Bucket": self._bucket, "Key": name},
                ExpiresIn=self._link_expiry,
            )
        except (BotoCoreError, ClientError, Boto3Error) as error:
            raise StageError("store", _reason(error), detail=str(error)) from error
        return link


def open_store(settings: Settings) -> S3Store:
    """The bucket of the ``BUCKET_*`` variables, which `Settings.read` found complete."""
    bucket = settings.bucket_name or ""
    client = boto3.client(
        "s3",
        endpoint_url=_endpoint(settings.bucket_endpoint_url or "", bucket),
        aws_access_key_id=_plain(settings.bucket_access_key_id),
        aws_secret_access_key=_plain(settings.bucket_secret_access_key),
        region_name=settings.bucket_region,
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
    return S3Store(client, bucket, settings.bucket_prefix, settings.link_expiry)


def _endpoint(url: str, bucket: str) -> str:
    """``url`` without the bucket that RunPod's examples put before its host or in its path."""
    parts = urlsplit(url)
    host = parts.netloc.removeprefix(f"{bucket}.")
    path = parts.path.rstrip("/").removesuffix(f"/{bucket}")
    return urlunsplit((parts.scheme, host, path, "", ""))


def _plain(secret: SecretStr | None) -> str | None:
    return secret.get_secret_value() if secret else None


def _reason(error: Exception) -> str:
    """What the operator should check; the server's own words may hold hosts and keys."""
    code = re.search(r"An error occurred \((\w+)\)", str(error))
    if code and code[1] in _REASONS:
        return _REASONS[code[1]]
    return "the bucket could not be reached or refused the file; the log says why"
