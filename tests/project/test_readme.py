"""README says what the code does."""

import json
import re
from pathlib import Path

from docs.write_tables import BLOCK, HUB, PAGES, with_choices, with_tables
from onetake.jobs.request import Job
from onetake.jobs.response import Result

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


def test_the_hub_s_choices_are_the_code_s() -> None:
    """`make docs` would change nothing of the listing either."""
    assert with_choices(HUB.read_text()) == HUB.read_text()


def test_the_tables_are_the_code_s() -> None:
    """`make docs` would change nothing."""
    texts = [page.read_text() for page in PAGES]
    assert [with_tables(text) for text in texts] == texts
    assert {match[1] for text in texts for match in BLOCK.findall(text)} == {
        "chaining", "chaining_4", "faults", "fields", "invisible", "loaders", "models", "profiles",
        "quality", "safety", "settings", "speed",
    }  # fmt: skip


def test_every_request_in_it_is_legal() -> None:
    """Each JSON request shown can be sent."""
    blocks = [json.loads(block) for block in re.findall(r"```json\n(.*?)```", README, re.DOTALL)]
    requests = [block["input"] for block in blocks if "input" in block]
    assert requests
    for request in requests:
        Job.parse(request)


def test_the_answer_in_it_is_whole() -> None:
    """The answer shown has the fields of a result, and each of its fields is one."""
    blocks = [json.loads(block) for block in re.findall(r"```json\n(.*?)```", README, re.DOTALL)]
    answer = next(block for block in blocks if "video_url" in block)
    assert set(answer) == set(Result.model_fields) - {"error"}  # which a whole take has not


def test_its_files_exist() -> None:
    """Pictures and pages that README links to are in the repository."""
    for target in re.findall(r"\]\((?!https?:|#)([^)]+)\)", README):
        assert (ROOT / target).exists(), target
