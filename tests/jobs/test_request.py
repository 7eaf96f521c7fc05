"""Reading a request: synonyms, drop-in clients, the schema."""

import json
import re
from pathlib import Path

import jsonschema
import pytest

from onetake.jobs.request import SYNONYMS, Job, schema
from onetake.runtime.errors import JobError
from tests.support.bad_fields import FIELDS

# As RunPod documents its public endpoints.
PUBLIC = {
    "prompt": "a paper boat sails along a rainy street",
    "image": "https://example.com/boat.png",
    "negative_prompt": "",
    "size": "1280*720",
    "num_inference_steps": 30,
    "guidance": 5,
    "duration": 5,
    "flow_shift": 5,
    "seed": -1,
    "enable_prompt_optimization": False,
    "enable_safety_checker": True,
}


def test_a_public_endpoint_s_request_is_taken() -> None:
    """Every field of wan-2-2-i2v-720 is read with its meaning."""
    job = Job.parse(PUBLIC)
    assert job.guidance_scale == 5
    assert job.sides_of_size() == (1280, 720)
    assert job.duration == 5
    assert (job.num_inference_steps, job.flow_shift, job.seed) == (30, 5, -1)


@pytest.mark.parametrize(("synonym", "name"), SYNONYMS.items())
def test_synonyms(synonym: str, name: str) -> None:
    """A synonym fills the canonical field."""
    value = "https://example.com/a.png" if name == "image" else 7
    assert getattr(Job.parse({"prompt": "a", synonym: value}), name) == value


def test_null_is_the_same_as_leaving_out() -> None:
    """Clients that send every field, empty ones as null, are served."""
    assert Job.parse({"prompt": "a", "image": None, "seed": None}) == Job.parse({"prompt": "a"})


def test_an_image_needs_no_prompt() -> None:
    """An image alone is a request."""
    assert Job.parse({"image": "https://example.com/a.png"}).prompt == ""


def test_the_nearest_legal_value_is_legal() -> None:
    """Every value that an error proposes, sent back in the same field, is taken."""
    corrected = 0
    wide = [({name: value, other: 720}, "") for name, other in
            (("width", "height"), ("height", "width")) for value in (63, 1, -3, 4097)]  # fmt: skip
    for fields, _ in [*FIELDS, *wide]:
        try:
            Job.parse({"prompt": "a red bottle", **fields})
        except JobError as error:
            match = re.search(r"nearest legal value is ([\d.-]+)$", str(error))
            if match and error.field in fields and error.field != "size":
                legal = json.loads(match[1])
                Job.parse({"prompt": "a red bottle", **fields, error.field: legal})
                corrected += 1
    assert corrected > 20


def test_a_huge_number_is_not_repeated() -> None:
    """What somebody sent is shown in part only."""
    with pytest.raises(JobError) as raised:
        Job.parse({"prompt": "a", "width": 10**4000 + 1, "height": 720})
    assert len(str(raised.value)) < 200


def test_the_schema_takes_what_the_parser_takes() -> None:
    """The exported schema accepts good requests, synonyms and nulls among them."""
    validator = jsonschema.Draft202012Validator(schema())
    local = json.loads((Path(__file__).parents[2] / "test_input.json").read_text())["input"]
    for request in (PUBLIC, local, {"prompt": "a", "steps": 4, "image_url": None, "output": None}):
        validator.validate(request)
        Job.parse(request)


def test_the_schema_refuses_no_more_than_the_parser() -> None:
    """Whatever the schema refuses, the parser refuses too."""
    validator = jsonschema.Draft202012Validator(schema())
    refused = [
        fields
        for fields, _ in FIELDS
        if not validator.is_valid({"prompt": "a red bottle", **fields})
    ]
    assert len(refused) > 50
    for fields in refused:
        with pytest.raises(JobError):
            Job.parse({"prompt": "a red bottle", **fields})
