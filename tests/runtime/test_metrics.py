"""The figures of a worker, as Prometheus reads them."""

from concurrent.futures import ThreadPoolExecutor

from onetake.runtime.metrics import OUTCOMES, Metrics


def test_each_worker_counts_for_itself() -> None:
    """A second worker of the process starts at 0, and every outcome is shown from the start."""
    first, second = Metrics(), Metrics()
    first.count_job("done")
    jobs = [f'onetake_jobs_total{{outcome="{outcome}"}} 0.0' for outcome in OUTCOMES]
    lines = second.text(queue_length=0, kept_takes=0).decode().splitlines()
    assert [line for line in lines if line.startswith("onetake_jobs")] == jobs


def test_the_stages_add_up() -> None:
    """The total is no stage, so that the sum of all stages is the time of all takes."""
    metrics = Metrics()
    for _ in range(2):
        metrics.count_stages({"denoise": 1.5, "decode": 0.5, "total": 2.0})
    value = metrics.registry.get_sample_value
    stages = ("denoise", "decode", "total")
    seconds = [value("onetake_stage_seconds_total", {"stage": stage}) for stage in stages]
    assert seconds == [3.0, 1.0, None]


def test_threads_lose_no_count() -> None:
    """The GPU's thread and the server's may count at once."""
    metrics = Metrics()
    with ThreadPoolExecutor(8) as threads:
        for _ in range(1000):
            threads.submit(metrics.count_audit_failure)
    assert metrics.registry.get_sample_value("onetake_audit_failures_total") == 1000


def test_the_names_are_those_of_prometheus() -> None:
    """Each figure has one name, with its type and a sentence, and counters end in _total."""
    metrics = Metrics()
    metrics.count_joules(2.5)
    text = metrics.text(queue_length=3, kept_takes=1).decode()
    types = dict(line.split()[2:] for line in text.splitlines() if line.startswith("# TYPE"))
    assert types == {
        "onetake_jobs_total": "counter",
        "onetake_stage_seconds_total": "counter",
        "onetake_card_joules_total": "counter",
        "onetake_audit_failures_total": "counter",
        "onetake_queue_length": "gauge",
        "onetake_kept_takes": "gauge",
    }
    for line in ("card_joules_total 2.5", "queue_length 3.0", "kept_takes 1.0"):
        assert f"onetake_{line}\n" in text
