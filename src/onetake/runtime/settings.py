"""The environment, read once into one frozen object.

Nothing else reads ``os.environ``, except for other programs' variables (`CC`, `HF_TOKEN`).
Variables of RunPod's SDK keep their names.
"""

import os
import re
from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from onetake.runtime.errors import SettingsError
from onetake.runtime.profiles import DEFAULT_PROFILE, PROFILES

WEEK_SECONDS = 7 * 24 * 3600
_VOLUME = Path("/runpod-volume")
_ENDPOINT = re.compile(r"https?://[\w.\[\]:-]+(/\S*)?", re.IGNORECASE)


class ModelSettings(BaseModel):
    """The default model, its weights and its compiled kernels."""

    model: str | None = Field(None, description="Default model; unset: the best that runs here")
    profile: str = Field(
        DEFAULT_PROFILE, description="Default profile; the model is loaded for it at boot"
    )
    weights_dir: Path = Field(
        Path("/runpod-volume/models"), description="Folder that holds one folder of weights a model"
    )
    hub_cache: Path = Field(
        Path("/runpod-volume/huggingface-cache/hub"), description="RunPod's cached models"
    )
    compile_cache: Path | None = Field(
        None,
        description="Compiled kernels, per GPU model; default: the volume, else a temporary folder "
        "that each cold start fills again",
    )

    @field_validator("profile")
    @classmethod
    def _check_profile(cls, name: str) -> str:
        if name not in PROFILES:
            *names, last = map(repr, PROFILES)
            raise ValueError(f"Input should be {', '.join(names)} or {last}")
        return name

    @property
    def compiled(self) -> Path | None:
        """The folder for compiled kernels; None: torch's own."""
        if self.compile_cache or not os.access(_VOLUME, os.W_OK):
            return self.compile_cache
        return _VOLUME / "onetake" / "compiled"


class FileSettings(BaseModel):
    """Folders of inputs and results."""

    inputs_dir: Path | None = Field(
        None, description="Folder from which `image` may name a file; unset: no paths are taken"
    )
    output_dir: Path = Field(Path("outputs"), description="Where results go when no bucket is set")
    public_url: str | None = Field(
        None,
        description="Base URL under which the files in `output_dir` are served, but not its folders"
        "; unset: a pod's own address, else `file://` links",
    )


class LimitSettings(BaseModel):
    """How long takes may be and jobs may run."""

    max_duration: float = Field(120.0, gt=0, description="Longest take that a job may ask, seconds")
    execution_timeout: float | None = Field(
        None, gt=0, description="Seconds after which a job is ended; unset: RunPod's limit alone"
    )
    grace_period: float = Field(
        25.0, ge=0, description="Seconds that a job in flight may still take after SIGTERM"
    )


class WorkerSettings(BaseModel):
    """What a worker keeps, allows and logs."""

    work_dir: Path = Field(
        Path("/tmp/onetake"),  # noqa: S108 - each worker makes a folder of its own in it
        description="Temporary files; those of killed workers are swept at boot",
    )
    keep_dir: Path | None = Field(
        None,
        description="Finished takes that no store took; unset: `kept` on the volume, if there is "
        "one, else below `output_dir`",
    )
    policy: Path | None = Field(
        None, description="TOML file of what is blocked, reviewed, marked and written down"
    )
    debug: bool = Field(
        default=False, description="Log details: tracebacks, paths, addresses (development)"
    )
    price_per_second: float = Field(
        0.00031, ge=0, description="Dollars a second of this worker costs (RTX 4090 serverless)"
    )
    allow_private_inputs: bool = Field(
        default=False,
        description="Fetch inputs from private and loopback addresses too (development)",
    )
    link_expiry: int = Field(
        WEEK_SECONDS, gt=0, le=WEEK_SECONDS, description="Life of a result's link, seconds"
    )


class PodSettings(BaseModel):
    """The server of a static pod."""

    mode: Literal["serverless", "pod"] = Field(
        "serverless",
        validation_alias="MODE_TO_RUN",
        description="`pod`: a server of its own instead of a worker of RunPod's queue",
    )
    host: str = Field(
        "127.0.0.1", description="Address that a pod listens on; 0.0.0.0: all, with a key only"
    )
    port: int = Field(8000, ge=1, le=65535, description="Port that a pod listens on")
    api_key: SecretStr | None = Field(None, description="Key that a pod's clients must send")
    max_queue: int = Field(20, ge=0, description="Jobs that may wait on a pod")
    max_body: int = Field(20_000_000, gt=0, description="Largest request that a pod takes, bytes")
    rate_limit: int = Field(
        600, gt=0, description="Requests a minute that a pod takes from one address"
    )
    pod_id: str | None = Field(
        None,
        validation_alias="RUNPOD_POD_ID",
        description="Set by RunPod: a pod's links go through RunPod's proxy",
    )


class BucketSettings(BaseModel):
    """The bucket that results go to."""

    bucket_endpoint_url: str | None = Field(
        None, validation_alias="BUCKET_ENDPOINT_URL", description="S3-compatible endpoint"
    )
    bucket_access_key_id: SecretStr | None = Field(
        None, validation_alias="BUCKET_ACCESS_KEY_ID", description="Its key"
    )
    bucket_secret_access_key: SecretStr | None = Field(
        None, validation_alias="BUCKET_SECRET_ACCESS_KEY", description="Its secret"
    )
    bucket_name: str | None = Field(
        None, validation_alias="BUCKET_NAME", description="The bucket, which must exist"
    )
    bucket_region: str = Field(
        "us-east-1", validation_alias="BUCKET_REGION", description="Its region"
    )
    bucket_prefix: str = Field(
        "onetake/", validation_alias="BUCKET_PREFIX", description="Put before every key"
    )

    @property
    def has_bucket(self) -> bool:
        """Whether results go to a bucket."""
        return self.bucket_endpoint_url is not None


# The last group comes first in `model_fields`, and so in README's table.
class Settings(
    BucketSettings,
    PodSettings,
    WorkerSettings,
    LimitSettings,
    FileSettings,
    ModelSettings,
    BaseSettings,
):
    """What the operator decides; every field is one environment variable."""

    model_config = SettingsConfigDict(
        env_prefix="ONETAKE_",
        frozen=True,
        extra="ignore",
        env_ignore_empty=True,
        allow_inf_nan=False,
    )

    job_take_url: str | None = Field(
        None,
        validation_alias="RUNPOD_WEBHOOK_GET_JOB",
        description="Set by RunPod: this is a production worker",
    )

    @classmethod
    def read(cls) -> Self:
        """The settings of this process.

        Raises:
            SettingsError: a variable is wrong, or the bucket is not complete.
        """
        try:
            settings = cls()
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            name = str(first["loc"][0])
            variable = name if name.isupper() else f"ONETAKE_{name.upper()}"
            # pydantic puts these words before the sentence of our own checks.
            problem = first["msg"].removeprefix("Value error, ")
            raise SettingsError(variable, problem) from None
        settings._check_bucket()
        return settings

    @property
    def kept(self) -> Path:
        """The folder for finished takes that no store took."""
        if self.keep_dir:
            return self.keep_dir
        return (_VOLUME / "onetake" if _VOLUME.is_dir() else self.output_dir) / "kept"

    @property
    def audit_log(self) -> Path:
        """The file that the policy's audit writes."""
        return self.kept.with_name("audit") / "audit.jsonl"

    @property
    def production(self) -> bool:
        """Whether RunPod's queue feeds this process."""
        return self.job_take_url is not None

    def _check_bucket(self) -> None:
        values = {
            "BUCKET_ENDPOINT_URL": self.bucket_endpoint_url,
            "BUCKET_ACCESS_KEY_ID": self.bucket_access_key_id,
            "BUCKET_SECRET_ACCESS_KEY": self.bucket_secret_access_key,
            "BUCKET_NAME": self.bucket_name,
        }
        missing = [name for name, value in values.items() if value is None]
        if missing and (self.production or len(missing) < len(values)):
            raise SettingsError(
                ", ".join(missing),
                "not set; a worker that takes jobs needs a bucket for its results, so set all of "
                + ", ".join(values),
            )
        if self.bucket_endpoint_url and not _ENDPOINT.fullmatch(self.bucket_endpoint_url):
            raise SettingsError(
                "BUCKET_ENDPOINT_URL", "is no web address; write it like https://s3.example.com"
            )
