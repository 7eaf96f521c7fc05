"""Whole jobs on the embedded model, from a request to the file behind its URL."""

import base64
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import numpy as np
import pytest
from PIL import Image

from onetake.entrypoints.runpod.answer import safe_name
from onetake.media import encoder as encode
from onetake.models.spec import VideoModel
from onetake.runtime.cancellation import Control
from onetake.runtime.errors import DeviceError, EncodeError, StoppedError
from onetake.runtime.metrics import OUTCOMES
from onetake.runtime.progress import Progress
from onetake.seams import gate
from onetake.takes.fitness import check_encoder
from onetake.takes.worker import Worker
from tests.support.frames import psnr
from tests.support.takes import QUICK, answered, frames_of, reply_to


def test_the_answer_is_true_to_the_file(worker: Worker) -> None:
    """Size, rate, length, seams and links say what the file is."""
    answer = answered(worker, {**QUICK, "duration": 4})
    frames = frames_of(answer["video_url"])
    assert frames.shape == (answer["num_frames"], answer["height"], answer["width"], 3)
    assert frames.shape == (64, 96, 128, 3)
    assert (answer["fps"], answer["duration"], answer["seed"]) == (16, 4, 3)
    assert answer["result"] == answer["video_url"]
    assert (answer["model"], answer["profile"]) == ("tiny", "exact")
    assert answer["revision"].startswith("sha256-")
    assert [seam["at_frame"] for seam in answer["seams"]] == [29, 49]
    assert all(seam["overlap_frames"] == 9 for seam in answer["seams"])
    poster = np.asarray(Image.open(unquote(urlsplit(answer["poster_url"]).path)))
    assert psnr(poster, frames[0]) > 25


def test_stages_add_up_to_the_total(worker: Worker) -> None:
    """Each stage has its own seconds, and their sum is the job's."""
    timings = answered(worker, {**QUICK, "duration": 2})["timings"]
    assert {"denoise", "decode", "encode", "store", "total"} <= set(timings)
    assert sum(timings.values()) - timings["total"] == pytest.approx(timings["total"], abs=0.1)


def test_the_cost_is_the_time_at_the_price(worker: Worker) -> None:
    """The cost follows the seconds."""
    answer = answered(worker, {**QUICK, "duration": 1})
    price = worker.settings.price_per_second
    assert answer["cost"] == pytest.approx(answer["timings"]["total"] * price, rel=0.01)


def test_the_same_request_gives_the_same_frames(worker: Worker) -> None:
    """Same seed, same frames, over a seam too; another seed, others."""
    request = {**QUICK, "duration": 3}
    first, again = (frames_of(answered(worker, request)["video_url"]) for _ in range(2))
    assert np.array_equal(first, again)
    other = frames_of(answered(worker, {**request, "seed": 4})["video_url"])
    assert not np.array_equal(first, other)


def test_a_drawn_seed_is_reported_and_repeats(worker: Worker) -> None:
    """Seed -1 draws one, and asking for that one gives the same take."""
    drawn = answered(worker, {**QUICK, "seed": -1, "duration": 1})
    repeated = answered(worker, {**QUICK, "seed": drawn["seed"], "duration": 1}, "again")
    assert drawn["seed"] >= 0
    first, again = frames_of(drawn["video_url"]), frames_of(repeated["video_url"])
    assert np.array_equal(first, again)


def test_an_image_is_the_first_frame(
    worker: Worker, picture: Image.Image, encoded: Callable[..., bytes]
) -> None:
    """The take has the picture's own ratio, and starts with the picture."""
    image = base64.b64encode(encoded(picture)).decode()
    answer = answered(worker, {"image": image, "num_inference_steps": 2, "duration": 1, "seed": 1})
    assert (answer["width"], answer["height"]) == (170, 128)
    assert answer["timings"]["fetch"] > 0
    frames = frames_of(answer["video_url"])
    shown, turned = picture.resize((170, 128)), picture.rotate(180).resize((170, 128))
    assert psnr(frames[0], np.asarray(shown)) > 20
    assert psnr(frames[0], np.asarray(shown)) > psnr(frames[0], np.asarray(turned)) + 3


@pytest.mark.parametrize(("colour", "channel"), [("red", 0), ("green", 1), ("blue", 2)])
def test_the_prompt_s_colour_is_in_the_frames(worker: Worker, colour: str, channel: int) -> None:
    """The embedded model follows its prompt: the product stands out in the colour asked for."""
    prompt = f"a {colour} box on a white background"
    frames = frames_of(
        answered(worker, {"prompt": prompt, "duration": 1, "seed": 5})["video_url"]
    ).astype(int)
    others = [c for c in range(3) if c != channel]
    excess = frames[..., channel] - frames[..., others].max(-1)
    assert (excess > 60).mean() > 0.02
    for other in others:
        assert (frames[..., other] - np.delete(frames, other, -1).max(-1) > 60).mean() < 0.005


@pytest.mark.parametrize(("size", "fps"), [("128*128", 16), ("200*150", 30)])
def test_a_clip_goes_on(worker: Worker, size: str, fps: int) -> None:
    """Its frames come first, then as many new ones as were asked, which begin where it ends."""
    request = {"prompt": "a red ball on a white background, the ball moves right", "seed": 5}
    clip = answered(worker, {**request, "duration": 1, "size": size, "fps": fps})["video_url"]
    sent = base64.b64encode(Path(unquote(urlsplit(clip).path)).read_bytes()).decode()
    answer = answered(worker, {**request, "video": sent, "duration": 0.5})
    before, frames = frames_of(clip), frames_of(answer["video_url"])
    assert (len(frames), answer["fps"], answer["width"]) == (fps * 3 // 2, fps, int(size[:3]))
    assert answer["seams"][0]["at_frame"] == fps
    assert min(psnr(*pair) for pair in zip(frames, before, strict=False)) > 30
    steps = np.abs(np.diff(frames.astype(int), axis=0)).mean((1, 2, 3))
    assert steps[fps - 1] < 3 * np.median(steps) + 1  # of the same picture
    assert psnr(frames[fps], before[-1]) < 45  # and not a frame once more


@pytest.mark.parametrize("with_image", [False, True])
def test_a_take_ends_on_the_given_picture(
    worker: Worker,
    encoded: Callable[..., bytes],
    with_image: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    """The last frame is the picture, which the model drew before, from text or from an image."""
    request = {"prompt": "a red ball on a white background", "duration": 1, "size": "128*128"}
    drawn = frames_of(answered(worker, {**request, "seed": 5})["video_url"])
    first, last = (
        base64.b64encode(encoded(Image.fromarray(frame))).decode() for frame in drawn[[0, -1]]
    )
    pictures = {"last_image": last, **({"image": first} if with_image else {})}
    answer = answered(worker, {**request, **pictures, "duration": 2, "seed": 8})
    frames = frames_of(answer["video_url"])
    assert len(frames) == 32
    assert psnr(frames[-1], drawn[-1]) > 22
    assert with_image or psnr(frames[-1], drawn[-1]) > psnr(frames[0], drawn[-1]) + 3


def test_a_loop_ends_where_it_began(worker: Worker) -> None:
    """Its last frame is followed by its first, which is not shown twice."""
    request = {"prompt": "a red ball on a white background", "size": "128*128"}
    looped, open_ended = (
        frames_of(
            answered(worker, {**request, "duration": 3, "seed": 5, "loop": loop})["video_url"]
        )
        for loop in (True, False)
    )
    assert len(looped) == len(open_ended) == 48
    assert psnr(looped[-1], looped[0]) > psnr(open_ended[-1], open_ended[0]) + 3
    assert psnr(looped[-1], looped[0]) < 45


def test_a_storyboard_is_shot_by_shot(worker: Worker) -> None:
    """Each part shows what its own prompt says, and the answer tells the cut from the seam."""
    shots = [
        {"prompt": "a red box", "duration": 1},
        {"prompt": "a red box, camera zooms in", "duration": 1},
        {"prompt": "a blue box", "duration": 1, "transition": "cut"},
    ]
    request = {"prompt": "white background", "segments": shots, "seed": 5, "size": "128*128"}
    answer = answered(worker, request)
    assert (answer["num_frames"], answer["duration"]) == (48, 3.0)
    assert [(s["at_frame"], s["overlap_frames"]) for s in answer["seams"]] == [(16, 9), (32, 0)]
    assert [s["figures"] is None for s in answer["seams"]] == [False, True]
    assert answer["seams"][0]["figures"]["duplicate"] > 0.3
    assert [s["prompt"] for s in answer["plan"]["segments"]] == [
        f"white background, {shot['prompt']}" for shot in shots
    ]
    frames = frames_of(answer["video_url"]).astype(int)
    redder = np.mean(frames[..., 0] - frames[..., 2] > 60, (1, 2))
    bluer = np.mean(frames[..., 2] - frames[..., 0] > 60, (1, 2))
    assert (redder[:32] > bluer[:32] + 0.02).all()
    assert (bluer[32:] > redder[32:] + 0.02).all()


def test_the_asked_size_and_rate_are_delivered(worker: Worker) -> None:
    """A size and a rate that the model does not have are made of what it has, and noted."""
    answer = answered(worker, {**QUICK, "size": "640*480", "fps": 24, "duration": 1})
    assert frames_of(answer["video_url"]).shape == (24, 480, 640, 3)
    assert answer["plan"]["generated_fps"] == 16
    assert any("resampled to 24 fps" in note for note in answer["notes"])
    assert any("scaled and cropped to 640*480" in note for note in answer["notes"])


def test_a_small_video_comes_in_the_answer(worker: Worker) -> None:
    """Delivery by base64 stores nothing."""
    answer = answered(worker, {**QUICK, "duration": 1, "output": {"delivery": "base64"}})
    assert answer["video_url"] is None
    assert len(frames_of(base64.b64decode(answer["video_base64"]))) == 16
    assert not worker.settings.output_dir.exists()


def test_a_video_too_large_for_the_answer_is_stored(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over the limit the link is given after all, with a note."""
    monkeypatch.setattr("onetake.delivery.publish.MAX_BASE64_BYTES", 10)
    answer = answered(worker, {**QUICK, "duration": 1, "output": {"delivery": "base64"}})
    assert answer["video_base64"] is None
    assert len(frames_of(answer["video_url"])) == 16
    assert any("the most that base64 carries" in note for note in answer["notes"])


def test_the_optimised_prompt_is_told(worker: Worker) -> None:
    """Prompt optimisation returns the prompt that was used."""
    answer = answered(
        worker, {**QUICK, "prompt": "a can", "duration": 1, "enable_prompt_optimization": True}
    )
    assert answer["prompt"].startswith("a can, ")


def test_a_prompt_too_long_for_the_model_is_told(worker: Worker) -> None:
    """What the text encoder cuts off is said, with both counts."""
    notes = answered(worker, {**QUICK, "prompt": "red bottle " * 100, "duration": 1})["notes"]
    assert "prompt has 201 tokens, of which tiny reads 64" in notes


def test_a_poster_that_cannot_be_stored_costs_no_video(worker: Worker) -> None:
    """The finished take is answered, with a note."""
    (worker.settings.output_dir / "job.poster.jpg").mkdir(parents=True)
    answer = answered(worker, {**QUICK, "duration": 1})
    assert len(frames_of(answer["video_url"])) == 16
    assert answer["poster_url"] is None
    assert "the poster could not be stored" in answer["notes"]


def test_the_embedded_model_is_excused_only_when_nobody_chose_it(worker: Worker) -> None:
    """A worker that is told to use it does not apologise for it."""
    notes = answered(worker, {**QUICK, "duration": 1})["notes"]
    assert not any("embedded model" in note for note in notes)


def test_progress_goes_forward(worker: Worker) -> None:
    """Every step of every segment is told in order."""
    updates: list[Progress] = []
    reply_to(worker, {**QUICK, "duration": 4}, Control(updates.append))
    steps = [(p.segment, p.step) for p in updates if p.stage == "denoise"]
    assert steps == [(s, i) for s in (1, 2, 3) for i in (1, 2)]
    fractions = [p.fraction for p in updates]
    assert fractions == sorted(fractions)
    assert fractions[-1] == pytest.approx(1)


def test_jobs_are_counted_by_how_they_end(worker: Worker) -> None:
    """What the worker did is in one place: outcomes, and the seconds of each stage."""
    answered(worker, {**QUICK, "duration": 1})
    reply_to(worker, {"prompt": 5})
    value = worker.metrics.registry.get_sample_value
    ends = [value("onetake_jobs_total", {"outcome": outcome}) for outcome in OUTCOMES]
    assert dict(zip(OUTCOMES, ends, strict=True)) == {
        "done": 1, "refused": 1, "stopped": 0, "failed": 0, "answered_again": 0,
    }  # fmt: skip
    assert value("onetake_stage_seconds_total", {"stage": "denoise"}) > 0


def test_a_worker_without_a_working_encoder_is_unfit(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The fitness check writes a real video, and passes where that works."""
    check_encoder(worker)
    broken = encode._Encoder("libx264", "crf", (26, 19, 15), (("preset", "no-such-preset"),))
    choice = encode.EncoderChoice(broken, "the test")
    monkeypatch.setattr(encode, "choose_encoder", lambda _output, _size: choice)
    with pytest.raises(EncodeError):
        check_encoder(worker)


def test_a_stopped_job_ends_within_two_steps(worker: Worker) -> None:
    """No step but the one in progress is made after the stop, and nothing is stored."""
    steps: list[int] = []

    def stop_at_three(progress: Progress) -> None:
        steps.append(progress.step)
        if progress.step == 3:
            control.stop()

    control = Control(stop_at_three)
    reply = reply_to(worker, {**QUICK, "num_inference_steps": 9, "duration": 4}, control)
    assert reply["error"].startswith("cancelled: the job was stopped ")
    assert steps == [1, 2, 3]
    assert not worker.settings.output_dir.exists()


@pytest.mark.parametrize("hand_back", [False, True])
def test_segments_outlive_a_job_that_is_handed_back(
    worker: Worker,
    hand_back: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    """A cancelled job leaves nothing; one that its worker hands back leaves what is done of it."""

    def stop_in_the_second(progress: Progress) -> None:
        if progress.segment == 2:
            control.stop(hand_back=hand_back)

    control = Control(stop_in_the_second)
    assert reply_to(worker, {**QUICK, "duration": 4}, control)["error"].startswith("cancelled")
    assert len(list(worker.settings.kept.glob("segments/job/*.latents"))) == hand_back


def test_the_execution_timeout_says_how_far_it_got(worker: Worker) -> None:
    """The job ends with a figure, a stage and what to do."""
    request = {**QUICK, "num_inference_steps": 100, "duration": 60}
    error = reply_to(worker, request, Control(timeout=0.5))["error"]
    assert error.startswith("timeout: the job was ended after 0.5 s, ")
    assert "% done, in denoise of segment 1 of " in error
    assert error.endswith("; ask for a shorter take or fewer steps")


def test_a_finished_take_is_stored_although_its_time_is_up() -> None:
    """Between two tries of the store only a stop counts."""
    control = Control(timeout=0.0)
    with pytest.raises(StoppedError):
        control.check()
    control.pause(0.0)
    control.stop()
    with pytest.raises(StoppedError):
        control.pause(60.0)


class Failing:
    """The embedded model, until it decodes: then ``error``."""

    def __init__(self, model: VideoModel, error: Exception) -> None:
        self.model = model
        self.error = error

    def __getattr__(self, name: str) -> Any:
        """Everything else is the model's."""
        return getattr(self.model, name)

    def lean(self) -> bool:
        """There is no way to need less."""
        return False

    def decode(self, latents: Any) -> Any:
        """One batch, then the fault."""
        yield next(self.model.decode(latents))
        raise self.error


@pytest.mark.parametrize(
    ("fault", "reply"),
    [
        (
            RuntimeError("/root/secret/path"),
            {"error": "internal_error: the worker failed; send the job again"},
        ),
        (
            DeviceError("out_of_memory", "the card has too little memory", detail="/root"),
            {"error": "out_of_memory: the card has too little memory", "refresh_worker": True},
        ),
    ],
)
def test_a_fault_in_the_middle_leaves_nothing(
    fault: Exception, reply: dict[str, Any], worker: Worker, tmp_path: Path
) -> None:
    """A fault of ours answers in one line without its inside, and leaves no file anywhere."""
    worker._model = Failing(worker._model, fault)
    assert reply_to(worker, {**QUICK, "duration": 1}) == reply
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert files == [worker.workdir.path / "lock"]


class FailingLate(Failing):
    """The embedded model, until the third segment is denoised: then ``error``."""

    def __init__(self, model: VideoModel, error: Exception) -> None:
        super().__init__(model, error)
        self.denoised = 0

    def decode(self, latents: Any) -> Any:
        """The model's."""
        return self.model.decode(latents)

    def denoise(self, request: Any, on_step: Callable[[int], None]) -> Any:
        """The model's, two times."""
        self.denoised += 1
        if self.denoised >= 3:
            raise self.error
        return self.model.denoise(request, on_step)


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (RuntimeError("/root/secret/path"), "internal_error"),
        (DeviceError("out_of_memory", "the card has too little memory"), "out_of_memory"),
        (DeviceError("device_lost", "the card stopped answering"), "device_lost"),
    ],
)
def test_a_failed_segment_keeps_those_before(fault: Exception, code: str, worker: Worker) -> None:
    """The answer holds their take and the error; the same request goes on from there."""
    request = {**QUICK, "duration": 4}
    whole = frames_of(answered(worker, request, "whole")["video_url"])
    model = worker._model
    worker._model = FailingLate(model, fault)
    cut = reply_to(worker, request, job_id="cut")
    assert cut["error"].startswith(f"{code}: segment 3 of 3 failed")
    assert cut["error"].endswith("the same fields with resume cut go on from there")
    assert "secret" not in str(cut)
    assert cut.get("refresh_worker", False) is (code != "internal_error")
    frames = frames_of(cut["video_url"])
    assert len(frames) == cut["num_frames"] == 49
    assert [seam["at_frame"] for seam in cut["seams"]] == [29]
    assert psnr(frames[:40], whole[:40]) > 35
    worker._model.denoised = 2
    again = reply_to(worker, {**request, "resume": "cut"}, job_id="again")
    assert again["error"] == cut["error"]
    worker._model = FailingLate(model, fault)
    resumed = answered(worker, {**request, "resume": "cut"}, "anew")
    assert worker._model.denoised == 1
    assert psnr(frames_of(resumed["video_url"]), whole) > 35
    assert not worker.settings.kept.exists()


def test_only_what_failed_can_be_resumed(worker: Worker) -> None:
    """An id of nothing, of another request, or that is a path is refused in one line."""
    request = {**QUICK, "duration": 4}
    worker._model = FailingLate(worker._model, RuntimeError())
    assert "video_url" in reply_to(worker, request, job_id="cut")
    said = {
        resume: reply_to(worker, {**request, **other, "resume": resume})["error"]
        for resume, other in (("cut", {"seed": 4}), ("none", {}), ("../cut", {}))
    }
    assert said == {
        "cut": "invalid_input: resume: is the id of another request; send the same fields with it",
        "none": "invalid_input: resume: nothing is kept under this id; leave it out and send the "
        "job anew",
        "../cut": "invalid_input: resume: '../cut' is no job id; send the one that was answered",
    }


def test_a_bad_seam_is_made_again(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    """When a gate refuses a segment it is tried once more, and the answer says so and its price."""
    monkeypatch.setattr(gate, "_BAD", 0.0)
    updates: list[Progress] = []
    request = {**QUICK, "duration": 4, "retries": 1}
    reply = reply_to(worker, request, Control(updates.append))
    tries = [seam["tries"] for seam in reply["seams"]]
    assert tries == [2, 2]
    assert any(note.startswith("segment 2 was made 2 times") for note in reply["notes"])
    assert reply["plan"]["estimate"]["most_dollars"] > reply["plan"]["estimate"]["dollars"]
    shares = [progress.fraction for progress in updates]
    assert shares == sorted(shares)


def test_a_failing_encoder_is_explained_in_the_log(
    worker: Worker, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """When ffmpeg refuses, the client gets a sentence and a debug log the end of its stderr."""
    broken = encode._Encoder("libx264", "crf", (26, 19, 15), (("preset", "no-such-preset"),))
    choice = encode.EncoderChoice(broken, "the test")
    monkeypatch.setattr(encode, "choose_encoder", lambda _output, _size: choice)
    reply = reply_to(worker, {**QUICK, "duration": 1})
    assert reply["error"].startswith("encode_failed: the video encoder stopped")
    error = caplog.records[-1].exc_info[1]
    assert "no-such-preset" in error.detail
    assert "no-such-preset" not in reply["error"]


@pytest.mark.parametrize(
    ("job_id", "name"),
    [("local_test", "local_test"), ("a1b2-u1", "a1b2-u1"), ("../../etc/x y", "______etc_x_y-")],
)
def test_a_job_id_is_a_safe_file_name(job_id: str, name: str) -> None:
    """No id leads out of the folder, and two ids never share a name."""
    assert safe_name(job_id).startswith(name)
    assert len({safe_name(twin) for twin in ("a/b", "a_b", "a.b", "a\ud800b")}) == 4
