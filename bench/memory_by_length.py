"""Peak host memory of a short and a long take, each in a fresh process, on the embedded model.

python -m bench.memory_by_length          # about five minutes on two cores

Frames leave at 1280x720, where a take held whole in memory would show. Writes
bench/results/memory_by_length.json.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from onetake.runtime.units import GIB

DURATIONS = (5, 60)  # seconds
SIZE = (1280, 720)
RESULTS = Path(__file__).parent / "results" / "memory_by_length.json"


def measure(seconds: int, folder: str) -> dict[str, float]:
    """Peak resident GiB of one job, beside what all of its frames would take."""
    command = [
        str(Path(sys.executable).parent / "onetake"), "generate", "--json", "--model", "tiny",
        "--prompt", "a red bottle on a white background, camera slowly zooming in",
        "--seed", "7", "--duration", str(seconds), "--size", f"{SIZE[0]}*{SIZE[1]}",
        "-o", str(Path(folder) / f"{seconds}.mp4"),
    ]  # fmt: skip
    result = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    return {
        "seconds": seconds,
        "num_frames": result["num_frames"],
        "host_peak_gib": result["memory"]["host_peak_gib"],
        "all_frames_gib": round(result["num_frames"] * SIZE[0] * SIZE[1] * 3 / GIB, 3),
    }


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        rows = [measure(seconds, folder) for seconds in DURATIONS]
    for row in rows:
        print(row)
    growth = rows[-1]["host_peak_gib"] / rows[0]["host_peak_gib"] - 1
    print(f"growth from {DURATIONS[0]} s to {DURATIONS[-1]} s: {growth:+.1%}")
    RESULTS.write_text(json.dumps({"size": SIZE, "rows": rows}, indent=2) + "\n")
