"""Write what repeats the code: tables of PAGES, and the choices of the Hub listing.

A table stands between `<!-- table: name -->` and `<!-- end -->`.

python -m docs.write_tables
"""

import json
import re
from functools import partial
from pathlib import Path

from onetake.jobs import tables
from onetake.models.catalogue import MODELS
from onetake.runtime.profiles import PROFILES
from onetake.takes.steps import request_model

ROOT = Path(__file__).parents[1]
PAGES = (ROOT / "README.md", *(ROOT / "docs" / name for name in ("CHAINING.md", "SAFETY.md")))
HUB = ROOT / ".runpod" / "hub.json"
BLOCK = re.compile(r"(<!-- table: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def markdown(rows: tables.Rows) -> str:
    """Rows as a Markdown table."""
    header, *body = rows
    lines = [header, ("---",) * len(header), *body]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def faults() -> tables.Rows:
    """What `bench/faults.py` found last."""
    report = json.loads((ROOT / "bench" / "results" / "faults.json").read_text())
    rows = [("fault", "jobs", "each ended in", "as it must", "most often made")]
    for row in report["rows"]:
        right, renders = str(row["right"]), str(row["most_renders_of_a_job"])
        rows.append((row["fault"], str(row["jobs"]), f"`{row['wanted']}`", right, renders))
    return rows


def loaders() -> tables.Rows:
    """What `bench/loaders.py` found last."""
    report = json.loads((ROOT / "bench" / "results" / "loaders.json").read_text())
    rows = [("weights", "loader", "cold, s", "warm, s")]
    for row in report["rows"]:
        seconds = [f"{second:.1f}" for second in row["seconds"]]
        rows.append((f"{row['form']}, {row['gigabytes']} GB", row["loader"], *seconds))
    return rows


def speed() -> tables.Rows:
    """What `bench/profiles.py` found last."""
    report = json.loads((ROOT / "bench" / "results" / "profiles.json").read_text())
    rows = [("way", "denoise, s", "decode, s", "in all, s", "times as fast", "peak, GiB")]
    for row in report["rows"]:
        last = row["jobs"][-1]
        seconds = [f"{last[key]:.1f}" for key in ("denoise", "decode", "total")]
        rows.append((row["profile"], *seconds, f"{row['ratio']:.2f}", f"{row['peak_gib']:.1f}"))
    return rows


def quality() -> tables.Rows:
    """What `bench/quality.py` found last."""
    report = json.loads((ROOT / "bench" / "results" / "quality.json").read_text())
    rows = [("profile", "steps", "dB from stock, mean", "worst", "attributes right")]
    for row in report["rows"]:
        decibels = [f"{row[key]:.1f}" if key in row else "" for key in ("psnr_mean", "psnr_worst")]
        rows.append((row["profile"], str(row["steps"]), *decibels, f"{row['accuracy']:.2f}"))
    return rows


def chaining(results: str = "chaining.json") -> tables.Rows:
    """What `bench/chaining.py` found last."""
    report = json.loads((ROOT / "bench" / "results" / results).read_text())
    keys = list(next(iter(report["ways"].values())))
    rows = [("way", *keys)]
    for way, row in report["ways"].items():
        rows.append((way, *(f"{row[key]:.3g}" for key in keys)))
    return rows


def safety() -> tables.Rows:
    """What `bench/safety.py` found last."""
    report = json.loads((ROOT / "bench" / "results" / "safety.json").read_text())
    rows = [("prompts", "how many", "figure")]
    wrong = f"{report['false_blocks']:.1%} blocked or flagged"
    rows.append(("innocent, half of them near misses", str(report["innocent"]), wrong))
    for name, row in report["categories"].items():
        rows.append((name, str(row["prompts"]), f"{row['missed']:.1%} missed"))
    for name, caught in report["evasions_caught"].items():
        rows.append(
            (f"a tenth of these with {name}", str(report["hidden"]), f"{caught:.1%} caught")
        )
    later = report["later"]
    wrong, missed = (
        f"{later['false_blocks']:.1%} blocked or flagged",
        f"{later['missed']:.1%} missed",
    )
    rows.append(("later set, innocent, half near misses", str(later["innocent"]), wrong))
    rows.append(("later set, violence, half without its words", str(later["violence"]), missed))
    return rows


def invisible() -> tables.Rows:
    """What `bench/invisible.py` found last."""
    report = json.loads((ROOT / "bench" / "results" / "invisible.json").read_text())
    groups = [report[group] for group in ("720p", "small")]
    counts = [len(group["clips"]) for group in groups]
    rows = [("done to it", *(f"{name} {n}" for n in counts for name in ("read, of", "wrong, of")))]
    for part, prefix in (("attacks", ""), ("unmarked", "never marked, ")):
        for name in groups[0][part]:
            figures_of = [group[part][name] for group in groups]
            figures = (str(one[verdict]) for one in figures_of for verdict in ("read", "wrong"))
            rows.append((prefix + name, *figures))
    return rows


MEASURED = {
    "chaining": chaining,
    "chaining_4": partial(chaining, "chaining_4.json"),
    "faults": faults,
    "fields": lambda: tables.fields(request_model()),
    "invisible": invisible,
    "loaders": loaders,
    "quality": quality,
    "safety": safety,
    "speed": speed,
}


def with_tables(text: str) -> str:
    """``text`` with every table made anew."""

    def fill(match: re.Match[str]) -> str:
        rows = MEASURED.get(match[2]) or getattr(tables, match[2])
        return match[1] + markdown(rows()) + match[3]

    return BLOCK.sub(fill, text)


def with_choices(text: str) -> str:
    """The Hub listing with the models and profiles that there are."""
    listing = json.loads(text)
    choices = {"ONETAKE_MODEL": ["", *MODELS], "ONETAKE_PROFILE": list(PROFILES)}
    for entry in listing["config"]["env"]:
        if entry["key"] in choices:
            entry["input"]["options"] = [
                {"label": value or "the best that runs", "value": value}
                for value in choices[entry["key"]]
            ]
    return json.dumps(listing, indent=2) + "\n"


if __name__ == "__main__":
    HUB.write_text(with_choices(HUB.read_text()))
    for page in PAGES:
        page.write_text(with_tables(page.read_text()))
