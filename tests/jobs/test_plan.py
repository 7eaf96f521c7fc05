"""The plan's arithmetic, for any legal job."""

from fractions import Fraction

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from onetake.jobs.storyboard import segment_seed
from onetake.media.probe import VideoFacts
from onetake.models.catalogue import MODELS
from onetake.runtime.errors import JobError
from tests.support.plans import TINY, WAN, planned

sides = st.integers(32, 1280).map(lambda half: 2 * half)
jobs = st.fixed_dictionaries(
    {},
    optional={
        "duration": st.floats(0.1, 600),
        "fps": st.one_of(st.integers(1, 60), st.sampled_from([23.976, 29.97, 59.94, 12.5])),
        "overlap_frames": st.sampled_from([1, 5, 9, 17]),
        "resolution": st.sampled_from(["480p", "720p", "1080p"]),
        "aspect_ratio": st.sampled_from(["16:9", "9:16", "1:1", "4:3", "3:4", "21:9", "9:21"]),
    },
)


@given(jobs, st.sampled_from([WAN, TINY]))
@settings(max_examples=400, deadline=None)
def test_totals_are_exact(job: dict, spec) -> None:
    """Segments less their overlaps cover the take, with no gap, and as few as possible."""
    plan = planned(job, spec)
    duration = job.get("duration", 5)
    assert plan.num_frames == max(1, round(duration * plan.fps))
    frames_before = 0
    for segment in plan.segments:
        assert segment.start_frame == frames_before
        assert segment.num_frames % spec.segment.frame_step == 1
        assert spec.segment.min_frames <= segment.num_frames <= spec.segment.max_frames
        frames_before += segment.num_frames - segment.overlap_frames
    assert frames_before >= plan.generated_frames
    # One segment fewer, each as long as the model allows, would be too short.
    fewer = len(plan.segments) - 1
    overlap = max(segment.overlap_frames for segment in plan.segments)
    longest = spec.segment.max_frames - overlap
    assert fewer == 0 or fewer * longest + overlap < plan.generated_frames


storyboards = st.lists(
    st.fixed_dictionaries(
        {"prompt": st.just("a can"), "duration": st.floats(0.2, 20)},
        optional={"transition": st.sampled_from(["cut", "continuous"]), "seed": st.just(9)},
    ),
    min_size=1,
    max_size=5,
)


@given(storyboards, st.sampled_from([16, 24, 29.97]), st.sampled_from([1, 5, 9, 17]))
@settings(max_examples=300, deadline=None)
def test_a_storyboard_s_parts_follow_each_other(
    parts: list[dict], fps: float, overlap: int
) -> None:
    """Every frame is one segment's, a cut continues nothing, and a part lasts as it was asked."""
    plan = planned({"segments": parts, "fps": fps, "overlap_frames": overlap}, TINY)
    assert plan.num_frames == round(sum(part["duration"] for part in parts) * plan.fps)
    frames_before, seen = 0, -1
    for segment in plan.segments:
        assert segment.start_frame == frames_before
        assert 0 < segment.kept_frames <= (segment.num_frames - segment.overlap_frames)
        assert segment.num_frames % TINY.segment.frame_step == 1
        assert TINY.segment.min_frames <= segment.num_frames <= TINY.segment.max_frames
        shot = parts[segment.part]
        if segment.part > seen:  # it begins its part
            seen = segment.part
            cut = segment.index == 0 or shot.get("transition") == "cut"
            assert segment.overlap_frames == (0 if cut else overlap)
            assert segment.seed == shot.get("seed", segment_seed(7, segment.index))
            began = sum(part["duration"] for part in parts[:seen])
            assert frames_before / plan.generated_fps == pytest.approx(
                began, abs=0.6 / fps + 1 / 16
            )
        frames_before += segment.kept_frames
    assert (frames_before, seen) == (plan.generated_frames, len(parts) - 1)


@given(jobs, st.sampled_from([WAN, TINY]))
@settings(max_examples=200, deadline=None)
def test_no_delivered_frame_lacks_its_generated_ones(job: dict, spec) -> None:
    """The last delivered frame lies within what is generated, with less than a frame left over."""
    plan = planned(job, spec)
    last = (plan.num_frames - 1) * Fraction(plan.generated_fps) / plan.fps
    assert last <= plan.generated_frames - 1 < last + 1


@given(sides, sides, st.sampled_from([WAN, TINY]))
@settings(max_examples=400, deadline=None)
def test_sizes_are_asked_and_legal(width: int, height: int, spec) -> None:
    """What is delivered is what was asked; what is generated suits the model and the ratio."""
    assume(max(width, height) <= 3 * min(width, height))
    plan = planned({"width": width, "height": height}, spec)
    assert plan.size == (width, height)
    across, down = plan.generated_size
    assert across % spec.segment.size_multiple == down % spec.segment.size_multiple == 0
    area = spec.segment.sizes[0][0] * spec.segment.sizes[0][1]
    assert 0.7 <= across * down / area <= 1.35
    ratio = (across / down) / (width / height)
    assert 0.8 <= ratio <= 1.25


@given(jobs, st.sampled_from([WAN, TINY]))
@settings(max_examples=400, deadline=None)
def test_seams_lie_in_the_take(job: dict, spec) -> None:
    """Every seam is a delivered frame, in order; no segment is made for nothing."""
    plan = planned(job, spec)
    seams = plan.seam_frames()
    assert seams == sorted(seams)
    assert all(seam in range(1, plan.num_frames) for seam in seams)
    assert len(plan.segments) - 1 - len(seams) in {0, 1}
    assert plan.segments[-1].start_frame < plan.generated_frames


@pytest.mark.parametrize(
    ("job", "delivered", "generated"),
    [
        ({}, (1280, 720), (1280, 704)),
        ({"size": "720*1280"}, (720, 1280), (704, 1280)),
        ({"resolution": "480p"}, (854, 480), (1280, 704)),
        ({"resolution": "1080p", "aspect_ratio": "9:16"}, (1080, 1920), (704, 1280)),
        ({"aspect_ratio": "1:1"}, (720, 720), (960, 960)),
        ({"width": 1000, "height": 400}, (1000, 400), (1504, 608)),
    ],
)
def test_known_sizes(job: dict, delivered: tuple, generated: tuple) -> None:
    """The sizes that people ask for most come out as the field expects."""
    plan = planned(job)
    assert plan.size == delivered
    assert plan.generated_size == generated


def test_an_image_decides_the_ratio_when_nothing_else_does() -> None:
    """A portrait picture makes a portrait take, and an asked size wins over it."""
    assert planned({}, source=(900, 1600)).size == (720, 1280)
    assert planned({"size": "1280*720"}, source=(900, 1600)).size == (1280, 720)
    notes = planned({"size": "1280*720"}, source=(900, 1600)).notes
    assert any("68% of the image is outside" in note for note in notes)


def test_five_seconds_is_one_segment_trimmed() -> None:
    """The default job is 120 delivered frames out of one segment of 121."""
    plan = planned({"duration": 5})
    assert (plan.num_frames, [segment.num_frames for segment in plan.segments]) == (120, [121])


def test_each_segment_has_its_own_seed() -> None:
    """The first keeps the job's seed; the others are derived, distinct and stable."""
    seeds = [segment.seed for segment in planned({"duration": 30}).segments]
    assert seeds[0] == 7
    assert len(set(seeds)) == len(seeds)
    assert seeds[1:] == [segment_seed(7, index) for index in range(1, len(seeds))]


@pytest.mark.parametrize(
    ("job", "scales"),
    [
        ({}, (3.5, 1.0, 1.0)),
        ({"guidance_scale": 5}, (5.0, 5.0, 5.0)),
        ({"negative_prompt": "blurred"}, (3.5, 3.5, 3.5)),
    ],
)
def test_what_goes_on_is_guided_by_its_context(job: dict, scales: tuple) -> None:
    """A segment with the same prompt has the model's other scale, unless the caller guides."""
    plan = planned({"duration": 4.5, **job}, TINY)
    assert tuple(segment.guidance_scale for segment in plan.segments) == scales
    parts = [{"prompt": "a", "duration": 1}, {"prompt": "b", "duration": 4}]
    board = planned({"segments": parts, **job}, TINY)
    board_scales = tuple(segment.guidance_scale for segment in board.segments)
    assert board_scales[:3] == (scales[0], scales[0], scales[1])


def test_the_default_forward_is_counted_as_published() -> None:
    """The counted operations of one 5B forward are within 3% of the known 517 TFLOP."""
    from onetake.jobs.estimate import forward_tflop  # noqa: PLC0415

    assert sum(forward_tflop(WAN, (1280, 704), 121)) == pytest.approx(517, rel=0.03)


@given(st.floats(0.9, 60), st.sampled_from([{}, {"image": "x"}]), st.sampled_from([1, 5, 9, 17]))
@settings(max_examples=300, deadline=None)
def test_the_last_segment_ends_on_the_given_frame(length: float, first: dict, overlap: int) -> None:
    """It has a context, and at most three of the four frames that show the given one are lost."""
    job = {"duration": length, "last_image": "x", "overlap_frames": overlap}
    plan = planned(job | first, TINY)
    *before, last = plan.segments
    assert (last.ends_on, any(s.ends_on for s in before)) == (True, False)
    assert last.overlap_frames or (first and not before)
    assert 0 <= (last.num_frames - last.overlap_frames) - last.kept_frames < TINY.segment.frame_step
    assert sum(s.kept_frames for s in plan.segments) == plan.generated_frames
    assert last.start_frame + last.kept_frames == plan.generated_frames


@pytest.mark.parametrize("overlap", [1, 5, 9, 17])
@pytest.mark.parametrize("first", [{}, {"image": "x"}])
def test_a_loop_gives_its_last_latent_away(overlap: int, first: dict[str, str]) -> None:
    """Whatever its length, the last segment makes the kept frames and a latent that is dropped."""
    for length in range(20, 160):
        job = {"num_frames": length, "loop": True, "overlap_frames": overlap, **first}
        segments = planned(job, TINY).segments
        last = segments[-1]
        assert last.ends_on
        assert len(segments) > 1
        assert last.num_frames == last.overlap_frames + last.kept_frames + TINY.segment.frame_step
        assert sum(segment.kept_frames for segment in segments) == length
        for segment in segments:
            assert 0 < segment.kept_frames <= (segment.num_frames - segment.overlap_frames)
            assert TINY.segment.min_frames <= segment.num_frames <= TINY.segment.max_frames
            assert segment.num_frames % TINY.segment.frame_step == 1


@given(
    st.integers(1, 400),
    st.sampled_from([Fraction(24), Fraction(30000, 1001), Fraction(50), Fraction(12)]),
    st.floats(0.1, 30),
    st.sampled_from([1, 5, 9, 17]),
)
@settings(max_examples=300, deadline=None)
def test_a_clip_is_extended_by_what_was_asked(
    frames: int, fps: Fraction, duration: float, overlap: int
) -> None:
    """Its size, rate and frames stay, and the first segment continues as much of it as there is."""
    clip = VideoFacts(640, 360, fps, frames, "h264")
    job = {"video": "x", "duration": duration, "overlap_frames": overlap}
    plan = planned(job, TINY, clip)
    assert (plan.size, plan.fps) == ((640, 360), fps)
    assert plan.num_frames == frames + max(1, round(duration * fps))
    assert plan.context_frames <= overlap
    assert plan.context_frames == 1 or (plan.context_frames - 1) / 16 <= (frames - 1) / fps
    assert plan.segments[0].overlap_frames == plan.context_frames - 1
    assert plan.seams()[0] == (frames, plan.segments[0])


def test_a_clip_of_odd_sides_is_refused() -> None:
    """The sentence says what would be legal."""
    with pytest.raises(JobError, match="has 641x360 pixels; even sides from 64 to 2560"):
        planned({"video": "x"}, TINY, VideoFacts(641, 360, Fraction(24), 9, "h264"))


def test_a_model_without_context_takes_cuts_alone() -> None:
    """A storyboard for it must be of shots that it can make at once, and says which is not."""
    text_only = MODELS["wan2.1-t2v-1.3b"]
    shots = [{"prompt": "a can", "duration": 3}, {"prompt": "a jar", "duration": 2}]
    plan = planned({"segments": shots, "transition": "cut"}, text_only)
    assert [segment.overlap_frames for segment in plan.segments] == [0, 0]
    with pytest.raises(JobError, match="cannot continue a segment; ask for cut"):
        planned({"segments": shots}, text_only)
    shots[1]["duration"] = 9
    with pytest.raises(JobError, match=r"segments\.1\.duration: .* nearest legal value is 5"):
        planned({"segments": shots, "transition": "cut"}, text_only)


def test_a_model_without_context_refuses_to_extend() -> None:
    """A text-only model names the longest take that it can make."""
    with pytest.raises(JobError, match=r"duration: .* nearest legal value is 5\.06,"):
        planned({"duration": 6}, MODELS["wan2.1-t2v-1.3b"])


@pytest.mark.parametrize("fps", [1, 8, 16, 24, 30, 60])
@pytest.mark.parametrize("field", ["duration", "num_frames"])
def test_the_longest_that_it_names_can_be_made(field: str, fps: int) -> None:
    """At any rate, the proposed value is legal and one frame more is not."""
    spec = MODELS["wan2.1-t2v-1.3b"]
    with pytest.raises(JobError, match=f"^unsupported: {field}: ") as raised:
        planned({field: 90 if field == "duration" else 500, "fps": fps}, spec)
    longest = float(str(raised.value).partition("value is ")[2].partition(",")[0])
    plan = planned({field: int(longest) if field == "num_frames" else longest, "fps": fps}, spec)
    with pytest.raises(JobError):
        planned({"num_frames": plan.num_frames + 1, "fps": fps}, spec)


def test_what_is_not_exact_is_said() -> None:
    """A duration that is no whole number of frames is noted; a size is never shrunk."""
    assert "1 whole frames at 1 fps last 1.000 s" in planned({"fps": 1, "duration": 0.1}).notes
    wide = planned({"resolution": "1080p", "aspect_ratio": "21:9"})
    assert wide.size == (2520, 1080)
    with pytest.raises(JobError, match="resolution: 1080p is 3240 pixels long at this ratio"):
        planned({"resolution": "1080p"}, source=(300, 100))
