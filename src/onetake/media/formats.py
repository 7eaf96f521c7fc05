"""Containers, codecs and qualities of the videos that are written."""

CONTENT_TYPES = {"mp4": "video/mp4", "mov": "video/quicktime", "webm": "video/webm"}
