"""Checks, reviews, marks and the audit log, in whole jobs on the embedded model."""

import json
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from imageio_ffmpeg import get_ffmpeg_exe
from PIL import Image
from typer.testing import CliRunner

from onetake.entrypoints.cli import app
from onetake.jobs.request import Job, digest
from onetake.runtime.cancellation import Control
from onetake.runtime.errors import JobError, StageError
from onetake.runtime.progress import Progress
from onetake.takes.worker import Worker
from onetake.trust.policy import Policy
from onetake.trust.provenance.apply import signature_of
from onetake.trust.provenance.audit import AuditLog
from onetake.trust.provenance.certificate import TEST_NAME
from onetake.trust.safety import pictures
from tests.support.takes import QUICK, answered, frames_of, reply_to

FLAGGED = {**QUICK, "prompt": "an Otterline bottle in red on white"}
HARMFUL = "a naked woman undresses in front of the camera"


def under(worker: Worker, **policy: Any) -> Worker:
    """The same worker with another policy."""
    worker.policy = Policy.model_validate(policy)
    worker.signature = signature_of(worker.policy)
    return worker


@pytest.fixture
def reviewed(worker: Worker) -> Worker:
    """A worker that keeps takes of one brand for review and writes an audit log."""
    return under(worker, brands=["Otterline"], audit={"enabled": True})


def red_is_nude(monkeypatch: pytest.MonkeyPatch) -> None:
    """Call red pictures nude, because this repository must not hold nude ones."""

    def classify(picture: Image.Image) -> SimpleNamespace:
        red, green, _blue = np.asarray(picture).reshape(-1, 3).mean(axis=0)
        return SimpleNamespace(nsfw=0.99 if red > green + 20 else 0.01)

    monkeypatch.setattr(pictures, "_classifier", lambda: SimpleNamespace(classify=classify))


def stored(worker: Worker) -> list[str]:
    """All keys in the store."""
    return worker.store.keys("")


@pytest.mark.parametrize(
    ("fields", "named_field"),
    [
        ({"prompt": HARMFUL}, "prompt"),
        ({"prompt": "a n.a.k.e.d w0man undresses"}, "prompt"),
        (
            {"prompt": "a red bottle", "segments": [
                {"prompt": "it stands", "duration": 1}, {"prompt": HARMFUL, "duration": 1},
            ]},
            "segments.1.prompt",
        ),
    ],
)  # fmt: skip
def test_a_blocked_prompt_costs_no_step(
    fields: dict[str, Any], named_field: str, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A blocked prompt is refused before any step, by field and category, without its words."""
    monkeypatch.setattr(worker, "model", None)  # a single step would need it
    reply = reply_to(worker, fields)
    sentence = "asks for sexual content, which this worker does not make; change it"
    assert reply == {"error": f"unsafe_prompt: {named_field}: {sentence}"}


def test_a_negative_prompt_is_free(worker: Worker) -> None:
    """A negative prompt is not checked."""
    result = answered(worker, {**QUICK, "duration": 1, "negative_prompt": "naked, blood, gore"})
    assert result["safety"]["verdict"] == "passed"


def test_an_innocent_take_passes(worker: Worker) -> None:
    """The real classifier looks at a frame of every second and every seam, and at the last one."""
    result = answered(worker, {**QUICK, "duration": 3})
    assert result["safety"] == {
        "checked": True, "reason": "prompts by words and meaning, pictures for nudity",
        "verdict": "passed", "categories": [], "pictures": 5,
    }  # fmt: skip


def test_checks_are_off_when_asked_and_allowed(worker: Worker) -> None:
    """A request may turn the checks off, unless the operator's policy keeps them on."""
    request = {**QUICK, "duration": 1, "enable_safety_checker": False}
    assert answered(worker, request)["safety"]["checked"] is False
    assert answered(under(worker, optional=False), request)["safety"]["verdict"] == "passed"


def test_minors_are_looked_for_whatever_is_asked(worker: Worker) -> None:
    """No request can turn off the check for minors."""
    suite = (Path(__file__).parents[1] / "trust" / "safety_prompts.jsonl").read_text(
        encoding="utf-8"
    )
    rows = (json.loads(line) for line in suite.splitlines())
    prompt = next(row["text"] for row in rows if row["category"] == "minors")
    request = {**QUICK, "prompt": prompt, "enable_safety_checker": False}
    reply = reply_to(worker, request)
    assert reply["error"].startswith("unsafe_prompt: prompt: asks for sexualised minors")


def test_a_blocked_take_leaves_nothing(
    worker: Worker, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """No file, part or kept segment is left, and the answer names only the category."""
    caplog.set_level("INFO")
    red_is_nude(monkeypatch)
    request = {"prompt": "a red sunset background, camera zooming in on a red box", "seed": 3,
               "num_inference_steps": 8, "duration": 3, "partial_results": True}  # fmt: skip
    reply = reply_to(worker, request)
    sentence = "led to sexual content, so the take is not given out; change it or the seed"
    assert reply == {"error": f"unsafe_result: prompt: {sentence}"}
    assert stored(worker) == []
    assert not list((worker.settings.kept / "segments").glob("*"))
    assert "sunset" not in caplog.text


def test_a_blocked_image_is_refused(
    worker: Worker, monkeypatch: pytest.MonkeyPatch, picture: Image.Image
) -> None:
    """A blocked image is refused under its field."""
    red_is_nude(monkeypatch)
    folder = worker.settings.inputs_dir
    assert folder is not None
    folder.mkdir()
    Image.new("RGB", (128, 128), (220, 30, 30)).save(folder / "red.png")
    picture.convert("L").save(folder / "grey.png")
    for field in ("image", "last_image"):
        reply = reply_to(worker, {**QUICK, "size": None, field: str(folder / "red.png")})
        assert reply["error"].startswith(f"unsafe_image: {field}: shows sexual content")


def test_parts_wait_for_the_look(worker: Worker) -> None:
    """Finished segments of a flagged take are not sent."""
    flagged = under(worker, brands=["Otterline"])
    reply = answered(flagged, {**FLAGGED, "duration": 3, "partial_results": True})
    assert reply["safety"]["verdict"] == "flagged"
    assert not [key for key in stored(flagged) if "segment" in key]


@pytest.mark.parametrize("action", ["block", "flag", "allow"])
def test_parts_that_left_are_taken_back(
    action: str, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If a later frame shows nudity, parts that were sent are deleted, unless it is allowed."""
    looks = iter([0.01] * 3 + [0.99] * 9)  # of frames 0, 16 and 25, so that the first part leaves
    classify = SimpleNamespace(classify=lambda _: SimpleNamespace(nsfw=next(looks)))
    monkeypatch.setattr(pictures, "_classifier", lambda: classify)
    reports: list[Progress] = []
    reply_to(
        under(worker, categories={"sexual": action}),
        {**QUICK, "duration": 4, "partial_results": True}, Control(reports.append),
    )  # fmt: skip
    assert any(progress.parts for progress in reports)
    left = [key for key in stored(worker) if "segment" in key]
    assert bool(left) == (action == "allow")


def test_frames_that_cannot_be_looked_at_are_kept_back(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the classifier fails, the take is not lost and waits for review."""
    monkeypatch.setattr(pictures, "_classifier", lambda: SimpleNamespace(classify=None))
    result = answered(worker, {**QUICK, "duration": 1})
    assert (result["safety"]["verdict"], result["video_url"]) == ("flagged", None)
    assert result["safety"]["reason"] == "frames could not be looked at"


def test_a_flagged_take_waits_and_goes(reviewed: Worker) -> None:
    """A flagged take has no links until it is approved and moved to its usual place."""
    result = answered(reviewed, {**FLAGGED, "duration": 1}, "shot")
    assert result["safety"]["categories"] == ["brands"]
    assert (result["video_url"], result["result"], result["poster_url"]) == (None, None, None)
    waiting = reviewed.quarantine.waiting()
    assert [(take.name, take.categories) for take in waiting] == [("shot", ["brands"])]
    assert len(frames_of(waiting[0].link)) == result["num_frames"]
    approved = reviewed.quarantine.approve("shot")
    assert len(frames_of(approved["video_url"])) == result["num_frames"]
    assert approved["safety"]["verdict"] == "approved"
    assert reviewed.quarantine.waiting() == []
    assert stored(reviewed) == ["shot.json", "shot.mp4", "shot.poster.jpg"]
    assert reviewed.answered_jobs().find("shot", {**FLAGGED, "duration": 1}) == approved


def test_a_rejected_take_is_gone(reviewed: Worker) -> None:
    """A rejected take is deleted, and the job's answer says so when it is asked for again."""
    request = {**FLAGGED, "duration": 1}
    answered(reviewed, request, "shot")
    reviewed.quarantine.reject("shot")
    assert stored(reviewed) == ["shot.json"]
    answer = reviewed.answered_jobs().find("shot", request)
    assert answer is not None
    assert (answer["safety"]["verdict"], answer["video_url"]) == ("rejected", None)
    with pytest.raises(JobError, match="does not wait"):
        reviewed.quarantine.approve("shot")


def test_an_approval_that_was_cut_off_goes_on(
    reviewed: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the store fails between two moves, the approval can be repeated."""
    answered(reviewed, {**FLAGGED, "duration": 1}, "shot")
    move = reviewed.store.move

    def fail_on_poster(key: str, to: str) -> None:
        if "poster" in key:
            raise StageError("store", "it went away")
        move(key, to)

    with monkeypatch.context() as patched:
        patched.setattr(reviewed.store, "move", fail_on_poster)
        with pytest.raises(StageError):
            reviewed.quarantine.approve("shot")
    with pytest.raises(JobError, match="is being approved already"):
        reviewed.quarantine.reject("shot")
    assert reviewed.quarantine.approve("shot")["safety"]["verdict"] == "approved"


@pytest.mark.parametrize("first", ["approve", "reject"])
def test_two_who_decide_differently_at_once(
    reviewed: Worker, monkeypatch: pytest.MonkeyPatch, first: str
) -> None:
    """Of two different decisions at once, the one noted first holds."""
    answered(reviewed, {**FLAGGED, "duration": 1}, "shot")
    second = {"approve": "reject", "reject": "approve"}[first]
    put = reviewed.store.put

    def put_and_meet(file: Path, key: str, content_type: str) -> str:
        """The other decision comes between this one's note and its check."""
        url = put(file, key, content_type)
        monkeypatch.setattr(reviewed.store, "put", put)
        with pytest.raises(JobError, match="already"):
            getattr(reviewed.quarantine, second)("shot")
        return url

    with monkeypatch.context() as patched:
        patched.setattr(reviewed.store, "put", put_and_meet)
        getattr(reviewed.quarantine, first)("shot")
    assert reviewed.quarantine.waiting() == []
    assert bool(stored(reviewed)[1:]) == (first == "approve")


def test_a_take_that_was_decided_meanwhile(
    reviewed: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A decision has no effect if the take was approved after its record was read."""
    answered(reviewed, {**FLAGGED, "duration": 1}, "shot")
    put = reviewed.store.put

    def meet_and_put(file: Path, key: str, content_type: str) -> str:
        """The other approves it after this one read the record and before its note."""
        monkeypatch.setattr(reviewed.store, "put", put)
        reviewed.quarantine.approve("shot")
        return put(file, key, content_type)

    with monkeypatch.context() as patched:
        patched.setattr(reviewed.store, "put", meet_and_put)
        with pytest.raises(JobError, match="does not wait"):
            reviewed.quarantine.reject("shot")
    assert stored(reviewed) == ["shot.json", "shot.mp4", "shot.poster.jpg"]
    verdict = reviewed.quarantine.decided("shot", digest({**FLAGGED, "duration": 1}))
    assert verdict is not None
    assert verdict["safety"]["verdict"] == "approved"


def test_a_flagged_take_that_no_store_takes_is_kept(
    reviewed: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A flagged take that could not be stored goes into quarantine when it is sent again."""
    with monkeypatch.context() as patched:
        refused = StageError("store", "it is full")
        patched.setattr(reviewed.store, "put", lambda *_: (_ for _ in ()).throw(refused))
        patched.setattr("onetake.delivery.publish.PUT_PAUSES", ())
        assert (
            "kept as shot" in reply_to(reviewed, {**FLAGGED, "duration": 1}, job_id="shot")["error"]
        )
    assert reviewed.answered_jobs().send("shot")["video_url"] is None
    assert [take.name for take in reviewed.quarantine.waiting()] == ["shot"]
    (record,) = AuditLog(reviewed.settings.audit_log).records()
    assert (record["outcome"], record["output"]["file"]) == ("kept", "shot.mp4")


def test_every_job_is_written_down(reviewed: Worker) -> None:
    """Passed, flagged and refused jobs are in one chain, without any word of a prompt."""
    done = answered(reviewed, {**QUICK, "duration": 1}, "one")
    answered(reviewed, {**FLAGGED, "duration": 1}, "two")
    reply_to(reviewed, {"prompt": HARMFUL}, job_id="three")
    log = AuditLog(reviewed.settings.audit_log)
    assert log.check().problem == ""
    records = list(log.records())
    outcomes = [(record["job"], record["outcome"]) for record in records]
    assert outcomes == [("one", "passed"), ("two", "flagged"), ("three", "unsafe_prompt")]
    assert records[0]["seed"] == done["seed"]
    written = reviewed.settings.audit_log.read_text()
    assert not any(word in written for word in ("bottle", "Otterline", "naked"))


def test_prompts_are_written_down_when_asked_for(worker: Worker) -> None:
    """If the policy asks for it, records hold the prompts."""
    answered(under(worker, audit={"enabled": True, "prompts": True}), {**QUICK, "duration": 1})
    record = next(AuditLog(worker.settings.audit_log).records())
    assert record["prompts"] == [QUICK["prompt"]]


def test_a_log_that_cannot_be_written_loses_no_take(reviewed: Worker) -> None:
    """If the log cannot be written, the take is delivered and the answer's notes say so."""
    reviewed.settings.audit_log.parent.parent.mkdir(exist_ok=True)
    reviewed.settings.audit_log.parent.write_text("a file where the folder should be")
    result = answered(reviewed, {**QUICK, "duration": 1})
    assert result["video_url"]
    assert "the audit log could not be written" in result["notes"]


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """Run the command line in an empty folder, with a policy."""
    monkeypatch.chdir(tmp_path)
    policy = tmp_path / "policy.toml"
    policy.write_text(
        'brands = ["Otterline"]\n[marks]\nc2pa = true\ninvisible = true\n[audit]\nenabled = true\n'
    )
    monkeypatch.setenv("ONETAKE_POLICY", str(policy))
    return lambda *arguments: CliRunner().invoke(app, list(map(str, arguments)))


def test_review_by_commands(command, reviewed: Worker, monkeypatch) -> None:
    """Commands list, approve and reject takes, and the log records each decision."""
    monkeypatch.setenv("ONETAKE_OUTPUT_DIR", str(reviewed.settings.output_dir))
    monkeypatch.setenv("ONETAKE_KEEP_DIR", str(reviewed.settings.keep_dir))
    for name in ("one", "two"):
        answered(reviewed, {**FLAGGED, "duration": 1}, name)
    listed = json.loads(command("review", "list", "--json").stdout)
    assert [take["name"] for take in listed] == ["one", "two"]
    assert command("review", "approve", "one").stdout.strip().endswith("/one.mp4")
    assert command("review", "reject", "two").stdout == "two is deleted\n"
    assert "0 to review" in command("review", "list").stdout
    wrong = command("review", "approve", "two")
    assert (wrong.exit_code, wrong.stderr.strip()) == (
        1, "invalid_input: NAME: two does not wait; see `onetake review list`",
    )  # fmt: skip
    checked = command("audit", "verify")
    assert checked.exit_code == 0
    assert checked.stdout.startswith("4 records, head ")
    log = reviewed.settings.audit_log
    log.write_text(log.read_text().replace('"approved"', '"rejected"'))
    broken = command("audit", "verify")
    assert (broken.exit_code, broken.stderr.strip()) == (1, "line 3 was changed")


def test_the_policy_is_shown(command) -> None:
    """The policy is shown with the defaults that its file leaves out."""
    shown = json.loads(command("policy", "--json").stdout)
    assert shown["brands"] == ["Otterline"]
    assert shown["categories"]["violence"] == "block"
    assert "Otterline" in command("policy").stdout


def test_a_copy_found_in_the_wild_leads_to_its_record(
    command, worker: Worker, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A file as delivered is signed and tagged, and a new encode still names the job."""
    monkeypatch.setenv("ONETAKE_KEEP_DIR", str(worker.settings.kept))
    marks = {"c2pa": True, "invisible": True, "sidecar": True, "label": "AI generated"}
    under(worker, marks=marks, audit={"enabled": True})
    request = {**QUICK, "size": "640*352", "duration": 2}
    result = answered(worker, request, "shot")
    assert result["marks"]["applied"] == ["c2pa", "invisible", "label", "metadata", "sidecar"]
    assert stored(worker) == ["shot.mp4", "shot.poster.jpg", "shot.take.json"]
    video = Path(worker.settings.output_dir) / "shot.mp4"
    origin = json.loads(command("verify", "--json", video).stdout)
    assert origin["metadata"]["seed"] == result["seed"]
    assert origin["c2pa"]["signer"] == TEST_NAME
    assert [record["job"] for record in origin["records"]] == ["shot"]
    copy = tmp_path / "copy.mp4"
    subprocess.run(
        [get_ffmpeg_exe(), "-loglevel", "error", "-i", video, "-crf", "28", "-map_metadata", "-1",
         copy], check=True,
    )  # fmt: skip
    origin = json.loads(command("verify", "--json", copy).stdout)
    assert (origin["metadata"], origin["c2pa"]["signer"]) == (None, "")
    assert origin["invisible"]["short_id"] == result["marks"]["short_id"]
    assert [record["job"] for record in origin["records"]] == ["shot"]
    written = worker.settings.audit_log.read_text() + (video.parent / "shot.take.json").read_text()
    assert "bottle" not in written + json.dumps(origin)


def test_a_mark_that_fails_loses_no_take(worker: Worker) -> None:
    """If a mark fails, the take is delivered and the answer says which mark is missing."""
    marks = {"c2pa": True, "timestamp_url": "http://127.0.0.1:9/"}
    result = answered(under(worker, marks=marks), {**QUICK, "duration": 1})
    assert result["marks"]["applied"] == ["metadata"]
    assert "the worker could not apply the mark c2pa" in result["notes"]


def test_jobs_in_the_field_s_words() -> None:
    """The request field `enable_safety_checker`, which hosted APIs also have, is on by default."""
    assert Job.parse({"prompt": "x"}).enable_safety_checker is True
