"""Requests that nobody thought of: whatever is asked, the answer is one clean line."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from onetake.jobs.request import SYNONYMS, Job
from onetake.models.spec import ModelSpec, VideoModel
from onetake.runtime.errors import StageError
from onetake.runtime.settings import Settings
from onetake.takes.worker import Worker
from tests.support.takes import reply_to

LINE = re.compile(r"[a-z_]+: [^\n]+")
CODES = {
    "invalid_input", "unknown_field", "unknown_model", "unknown_profile", "unsupported",
    "model_unavailable", "input_unreachable", "input_forbidden", "model_failed",
}  # fmt: skip

texts = st.one_of(
    st.text(max_size=30),
    st.sampled_from(
        ["", " ", "\x00", "\ud800", "../../etc/passwd", "data:image/png;base64,AAAA", "file:///etc",
         "http://[::1]/", "http://\\@a/", "1280*720", "720p", "16:9", "tiny", "exact", "A" * 3000]
    ),
)  # fmt: skip
numbers = st.one_of(
    st.integers(), st.floats(), st.sampled_from([0, -1, 1, 5, 2**53, 10**400, True, 0.1, 1e308])
)
values = st.recursive(
    st.one_of(st.none(), texts, numbers),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(texts, inner, max_size=3)),
    max_leaves=6,
)
fields = st.one_of(st.sampled_from([*Job.model_fields, *SYNONYMS]), texts)
requests = st.one_of(st.dictionaries(fields, values, max_size=6), values)


class Unloaded(Worker):
    """A worker whose model must not be needed to refuse a job."""

    def model(self, spec: ModelSpec) -> VideoModel:
        """Say that the job was legal so far."""
        raise StageError("model", spec.name)


@pytest.fixture(scope="module")
def unloaded(tmp_path_factory: pytest.TempPathFactory) -> Worker:
    """One worker for all requests."""
    folder = tmp_path_factory.mktemp("fuzz")
    return Unloaded(Settings(model="tiny", output_dir=folder, work_dir=folder / "work"))


@given(payload=requests)
@example(payload={"prompt": "a", "output": {"container": "mp4", "codec": "h264", "x": {}}})
@example(payload={"prompt": "a\ud800b"})
@example(payload={"prompt": "a", "seed": float("nan")})
@hypothesis_settings(max_examples=300, deadline=None)
def test_any_request_is_answered_with_one_clean_line(payload: Any, unloaded: Worker) -> None:
    """No crash, no traceback, no path, and a text that RunPod's SDK can post."""
    reply = reply_to(unloaded, payload)
    posted = json.dumps(reply, ensure_ascii=False, allow_nan=False).encode()
    assert b"Traceback" not in posted
    assert LINE.fullmatch(reply["error"]), reply
    assert reply["error"].partition(":")[0] in CODES, reply
    assert str(Path(__file__).parents[2]) not in reply["error"]
