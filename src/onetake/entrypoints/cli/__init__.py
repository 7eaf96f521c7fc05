"""The command line: `onetake generate | plan | seams | weights | bench | serve | review | ...`.

A request's common fields are options; `--job FILE` takes a whole request as JSON, which options
then override. Errors are one line on stderr and exit code 1.
"""

import typer

from onetake.entrypoints.cli import operate, trust, weights
from onetake.entrypoints.cli.bench import bench
from onetake.entrypoints.cli.generate import generate
from onetake.entrypoints.cli.plan import plan
from onetake.entrypoints.cli.seams import seams

app = typer.Typer(
    help="One continuous take of video from a prompt, an image or both.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.add_typer(weights.app, name="weights")
for command in (
    bench, seams, trust.policy, trust.verify, generate, plan, operate.models, operate.recover,
    operate.serve, operate.boot, operate.schema,
):  # fmt: skip
    app.command()(command)
app.add_typer(trust.review, name="review")
app.add_typer(trust.audit, name="audit")
