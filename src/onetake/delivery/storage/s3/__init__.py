"""An S3-compatible bucket, the operator's or a job's own; boto3 is imported when one is opened."""

from collections.abc import Callable, Mapping
from importlib import import_module

from onetake.delivery.storage import Store
from onetake.delivery.storage.s3.access import Access, job_access, operator_access
from onetake.runtime.settings import Settings


def selects(settings: Settings) -> bool:
    """When the ``BUCKET_*`` variables are set."""
    return settings.has_bucket


def open_store(settings: Settings) -> Store:
    """The bucket of the ``BUCKET_*`` variables, which `Settings.read` has checked."""
    return _bucket(operator_access(settings), settings)


def open_job_store(
    config: Mapping[str, object], settings: Settings, is_public_host: Callable[[str], bool]
) -> Store:
    """See `storage.open_job_store`."""
    return _bucket(job_access(config, settings, is_public_host), settings)


def _bucket(access: Access, settings: Settings) -> Store:
    module = import_module("onetake.delivery.storage.s3.bucket")
    store: Store = module.S3Store(access, settings.bucket_prefix, settings.link_expiry)
    return store
