"""What a worker has done, counted for Prometheus."""

from collections.abc import Mapping
from functools import partial

from prometheus_client import (
    CONTENT_TYPE_PLAIN_0_0_4,
    CollectorRegistry,
    Counter,
    Gauge,
    disable_created_metrics,
    generate_latest,
)

METRICS_TYPE = CONTENT_TYPE_PLAIN_0_0_4  # of `Metrics.text`
OUTCOMES = ("done", "refused", "stopped", "failed", "answered_again")

# Else each counter comes with one more figure, the time of its first use.
disable_created_metrics()  # type: ignore[no-untyped-call]


class Metrics:
    """One worker's figures since its start; any thread may add to them."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        counter = partial(Counter, registry=self.registry)
        gauge = partial(Gauge, registry=self.registry)
        self._jobs = counter("onetake_jobs_total", "Jobs by how they ended", ["outcome"])
        self._seconds = counter("onetake_stage_seconds_total", "Seconds by stage", ["stage"])
        self._joules = counter("onetake_card_joules_total", "Energy that the GPU used")
        self._audit_failures = counter(
            "onetake_audit_failures_total", "Records that could not be written to the audit log"
        )
        self._queue_length = gauge("onetake_queue_length", "Jobs that wait for their turn")
        self._kept_takes = gauge("onetake_kept_takes", "Finished takes that are not stored yet")
        for outcome in OUTCOMES:
            self._jobs.labels(outcome)  # 0 from the start

    def count_job(self, outcome: str) -> None:
        """Count a job that ended; ``outcome`` is one of `OUTCOMES`."""
        self._jobs.labels(outcome).inc()

    def count_stages(self, timings: Mapping[str, float]) -> None:
        """Add a take's seconds by stage. ``total`` is left out: it is no stage."""
        for stage, seconds in timings.items():
            if stage != "total":
                self._seconds.labels(stage).inc(seconds)

    def count_joules(self, joules: float) -> None:
        """Add the energy that a take used."""
        self._joules.inc(joules)

    def count_audit_failure(self) -> None:
        """Count a record that could not be written to the audit log."""
        self._audit_failures.inc()

    def text(self, *, queue_length: int, kept_takes: int) -> bytes:
        """All figures in Prometheus' text format, with these two as they are now."""
        self._queue_length.set(queue_length)
        self._kept_takes.set(kept_takes)
        return generate_latest(self.registry)
