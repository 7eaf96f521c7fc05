"""Draw docs/profiles.png from what `bench/profiles.py` found last: seconds by stage of each way.

python -m docs.plot_profiles
"""

import json
from pathlib import Path

from matplotlib.figure import Figure

ROOT = Path(__file__).parents[1]


def main() -> None:
    """A bar for each way, its stages after each other."""
    report = json.loads((ROOT / "bench" / "results" / "profiles.json").read_text())
    rows = report["rows"]
    figure = Figure(figsize=(8, 1.2 + 0.5 * len(rows)), layout="constrained")
    axes = figure.subplots()
    left = [0.0] * len(rows)
    for stage, colour in (("denoise", "#4c72b0"), ("decode", "#dd8452")):
        seconds = [row["jobs"][-1][stage] for row in rows]
        names = [row["profile"] for row in rows]
        axes.barh(names, seconds, left=left, color=colour, label=stage)
        left = [start + more for start, more in zip(left, seconds, strict=True)]
    for place, (row, end) in enumerate(zip(rows, left, strict=True)):
        axes.text(end + 1, place, f"{end:.1f} s, {row['ratio']:.2f}x", va="center")
    axes.set_xlim(0, max(left) * 1.2)
    axes.invert_yaxis()
    axes.set_xlabel(f"seconds, {report['card']}")
    axes.legend(loc="lower right")
    figure.savefig(ROOT / "docs" / "profiles.png", dpi=100)


if __name__ == "__main__":
    main()
