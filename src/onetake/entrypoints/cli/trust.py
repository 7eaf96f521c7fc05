"""`onetake policy | review | verify | audit`: what may leave, and where a clip came from."""

import json
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from onetake.entrypoints.cli.console import JsonOption, out, refusals, say
from onetake.media.probe import MediaError, probe_video, read_frames, read_tags
from onetake.runtime.errors import JobError
from onetake.runtime.hashing import sha256_of
from onetake.runtime.settings import Settings
from onetake.takes import audit_record
from onetake.takes.worker import Worker
from onetake.trust.policy import Policy, read_policy
from onetake.trust.provenance import c2pa_manifest
from onetake.trust.provenance.audit import AuditLog, Record
from onetake.trust.provenance.invisible_reader import read_mark

review = typer.Typer(help="Takes that were flagged and wait for somebody.", no_args_is_help=True)
audit = typer.Typer(help="The log of what was made.", no_args_is_help=True)
VideoArgument = Annotated[Path, typer.Argument(help="A video, ours or not.")]
AnchorOption = Annotated[
    Path | None, typer.Option(help="Root certificates to trust, PEM; else the policy's own.")
]


def policy(as_json: JsonOption = False) -> None:
    """Show what is blocked, reviewed, marked and written down, defaults included."""
    with refusals():
        parts = read_policy(Settings.read().policy).model_dump(mode="json")
    if as_json:
        print(json.dumps(parts, indent=1))
        return
    table = Table("part", "setting", "value", title="policy")
    for part, values in parts.items():
        for name, value in (values if isinstance(values, dict) else {"": values}).items():
            table.add_row(part, name, escape(json.dumps(value, ensure_ascii=False)))
    out.print(table)


@review.command(name="list")
def list_waiting(as_json: JsonOption = False) -> None:
    """Show the takes that wait for a review, the oldest first, with links to look at them."""
    with refusals():
        waiting = Worker(Settings.read()).quarantine.waiting()
    if as_json:
        print(json.dumps([take._asdict() for take in waiting], indent=1))
        return
    table = Table("name", "since", "for", "link", title=f"{len(waiting)} to review")
    for take in waiting:
        row = (take.name, take.since, ", ".join(take.categories), take.link)
        table.add_row(*map(escape, row))
    out.print(table)


@review.command()
def approve(name: Annotated[str, typer.Argument(help="From `onetake review list`.")]) -> None:
    """Release a take: move it to its store, and print its link."""
    print(_decide(name, "approved")["video_url"])


@review.command()
def reject(name: Annotated[str, typer.Argument(help="From `onetake review list`.")]) -> None:
    """Delete a take."""
    _decide(name, "rejected")
    print(f"{name} is deleted")


def _decide(name: str, verdict: str) -> dict[str, Any]:
    with refusals():
        worker = Worker(Settings.read())
        decide = worker.quarantine.approve if verdict == "approved" else worker.quarantine.reject
        answer = decide(name)
    if worker.policy.audit.enabled:
        audit_record.append(worker, {"job": name, "source": "review", "outcome": verdict})
    return answer


@audit.command(name="verify")
def check_log() -> None:
    """Check the chain of hashes from its first record; exit code 1 if it is broken."""
    with refusals():
        path = _log(Settings.read())
    check = AuditLog(path).check()
    torn = f", {check.torn} torn lines of killed writers" if check.torn else ""
    print(f"{check.records} records{torn}, head {check.head}")
    if check.problem:
        say(check.problem)
        raise typer.Exit(1)


def verify(video: VideoArgument, anchor: AnchorOption = None, as_json: JsonOption = False) -> None:
    """Show what a clip says of its origin, and its records in the audit log.

    Exit code 1 if it carries no mark, or one that does not hold.
    """
    with refusals():
        settings = Settings.read()
        origin = _origin(video, _anchors(anchor, read_policy(settings.policy)))
        log = settings.audit_log
        origin["records"] = list(_matching(AuditLog(log).records(), video, origin["invisible"]))
    if as_json:
        print(json.dumps(origin, indent=1))
    else:
        _print(origin)
    problem = origin["c2pa"]["problem"]
    carries = origin["metadata"] or origin["invisible"] or not problem
    if not carries or problem not in {"", c2pa_manifest.NONE}:
        raise typer.Exit(1)


def _origin(video: Path, anchors: str) -> dict[str, Any]:
    """What the file itself says of its origin.

    Raises:
        JobError: it is no video, or there is no certificate in ``anchors``.
    """
    try:
        probe_video(video)
        tags = read_tags(video)
        reading = read_mark(read_frames(video))
    except MediaError as error:
        raise JobError("VIDEO", f"is {error}; give another") from None
    except OSError:
        raise JobError("VIDEO", "cannot be read; check its name") from None
    try:
        manifest = c2pa_manifest.read(video, anchors)
    except ValueError as error:
        raise JobError("--anchor", f"cannot be used: {error}") from None
    mark = {"short_id": f"{reading.short_id:08x}", "confidence": round(reading.confidence, 1),
            "false_alarm": reading.false_alarm} if reading else None  # fmt: skip
    return {"metadata": _ours(tags), "invisible": mark, "c2pa": manifest._asdict()}


def _ours(tags: dict[str, str]) -> dict[str, Any] | None:
    """The metadata that our encoder wrote; None if another program wrote the file."""
    try:
        comment = json.loads(tags.get("comment", ""))
    except (ValueError, RecursionError):
        return None
    ours = isinstance(comment, dict) and comment.get("generator") == "Onetake"
    return comment if ours else None


def _matching(log: Iterator[Record], video: Path, mark: dict[str, Any] | None) -> Iterator[Record]:
    """Records of this very file, or of the short id that its frames carry."""
    content = sha256_of(video)
    for record in log:
        same_file = record.get("output", {}).get("sha256") == content
        if same_file or (mark and record.get("short_id") == mark["short_id"]):
            yield record


def _print(origin: dict[str, Any]) -> None:
    metadata, mark, c2pa = origin["metadata"], origin["invisible"], origin["c2pa"]
    claim = "none of ours"
    if metadata:
        claim = f"says {metadata.get('model', 'no model')}, seed {metadata.get('seed', 'none')}"
    signer = c2pa["signer"] and f", signed by {c2pa['signer']}"
    invisible = (
        f"{mark['short_id']}, wrong in {mark['false_alarm']:.0e} of clips" if mark else "none"
    )
    rows = {
        "metadata": claim,
        "C2PA": f"{c2pa['problem'] or 'holds'}{signer}",
        "invisible": invisible,
    }
    for record in origin["records"]:
        rows[f"audit {record['number']}"] = f"job {record['job']}, {record['outcome']}"
    table = Table(show_header=False)
    for name, value in rows.items():
        table.add_row(name, escape("".join(c if c.isprintable() else "?" for c in value)))
    out.print(table)


def _anchors(anchor: Path | None, policy_: Policy) -> str:
    """The certificates a signer must be under: of ``anchor``, else the operator's own chain.

    Raises:
        JobError: there is no certificate in it.
    """
    chosen = anchor or policy_.marks.certificate
    if not chosen:
        return ""
    try:
        text = chosen.read_text()
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=text)  # reads all
    except (OSError, ValueError):  # SSLError is the former, UnicodeDecodeError the latter
        field = "--anchor" if anchor else "marks.certificate"
        raise JobError(field, "is no readable PEM file of certificates") from None
    return text


def _log(settings: Settings) -> Path:
    if not settings.audit_log.is_file():
        raise JobError("audit", "there is no log; set audit.enabled in the policy")
    return settings.audit_log
