"""Make docs/frames.png: rows of frames of whole takes, each under its prompt.

python -m docs.make_picture          # under a minute on two cores
"""

import tempfile
from pathlib import Path
from typing import Any

import av
from PIL import Image, ImageDraw, ImageFont

from onetake.delivery.storage.local import LocalStore
from onetake.runtime.cancellation import Control
from onetake.runtime.settings import Settings
from onetake.takes.story import make_take
from onetake.takes.worker import Worker

PICTURE = Path(__file__).parent / "frames.png"
TAKES = (
    {"prompt": "a red bottle on a white background, camera slowly zooming in", "seed": 1},
    {"prompt": "a green ball on a wooden table, the ball moves right", "seed": 1},
    {"prompt": "a blue cube on a white background, slow zoom out", "seed": 5},
)
DURATION = 4  # seconds: three segments, two seams
COLUMNS = 8
TEXT_HEIGHT, GAP = 22, 4  # pixels


def frames_of(worker: Worker, request: dict[str, Any]) -> list[Image.Image]:
    """Frames at equal distances from the first to the last of a take."""
    request = {**request, "duration": DURATION}
    result = make_take(worker, worker.answered_jobs(), "picture", request, Control())
    with av.open(str(worker.settings.output_dir / "picture.mp4")) as file:
        frames = [frame.to_image() for frame in file.decode(video=0)]
    return [frames[i * (result.num_frames - 1) // (COLUMNS - 1)] for i in range(COLUMNS)]


def picture(rows: list[tuple[str, list[Image.Image]]]) -> Image.Image:
    """Every row's prompt, and its frames beneath."""
    width, height = rows[0][1][0].size
    size = (COLUMNS * (width + GAP) - GAP, len(rows) * (TEXT_HEIGHT + height + GAP) - GAP)
    sheet = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(15)
    for index, (prompt, frames) in enumerate(rows):
        top = index * (TEXT_HEIGHT + height + GAP)
        draw.text((2, top + 2), prompt, "black", font)
        for column, frame in enumerate(frames):
            sheet.paste(frame, (column * (width + GAP), top + TEXT_HEIGHT))
    return sheet


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(model="tiny", output_dir=Path(folder))
        worker = Worker(settings, LocalStore(settings.output_dir))
        rows = [(str(request["prompt"]), frames_of(worker, request)) for request in TAKES]
    # 256 colours: a third of the size, and the frames have few.
    picture(rows).quantize(256).save(PICTURE, optimize=True)
    print(f"{PICTURE}: {PICTURE.stat().st_size >> 10} KiB")
