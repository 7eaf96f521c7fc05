"""Plans of jobs by the rows of the model table."""

from onetake.jobs.plan import Plan, Terms, plan_take
from onetake.jobs.request import Job
from onetake.models.catalogue import MODELS
from onetake.runtime.profiles import PROFILES

WAN = MODELS["wan2.2-ti2v-5b"]


TINY = MODELS["tiny"]


TERMS = Terms(max_duration=600, price_per_second=0.001)


def planned(asked: dict, spec=WAN, source=None) -> Plan:
    """The plan of a request."""
    job = Job.parse({"prompt": "a red bottle", **asked})
    return plan_take(
        job,
        spec,
        PROFILES["exact"],
        TERMS,
        prompts=[part.prompt for part in job.segments or [job]],
        seed=7,
        source=source,
    )
