"""Containers, codecs and qualities of the videos that are written."""

from typing import Literal

from pydantic import BaseModel, ConfigDict

Container = Literal["mp4", "mov", "webm"]
Codec = Literal["h264", "hevc", "av1"]
Quality = Literal["draft", "standard", "high"]

CONTENT_TYPES = {"mp4": "video/mp4", "mov": "video/quicktime", "webm": "video/webm"}


class VideoFormat(BaseModel):
    """How a video is written."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    container: Container = "mp4"
    codec: Codec = "h264"
    quality: Quality = "standard"
