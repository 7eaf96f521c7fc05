"""Draw the report's pictures: the curves of the training, and a contact sheet of the model.

    python -m training.pictures          # two minutes on two CPU cores

The curves are read from training/logs, where the .jsonl files of a WORK_DIR belong.
"""

from __future__ import annotations

import json
import random
from pathlib import Path

import matplotlib.pyplot as plt
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from training import clips
from training.captions import MOVEMENTS, caption, names
from training.engine import DEVICE
from training.evaluate import ASSETS, drawn
from training.generate import Model

HERE = Path(__file__).parent
CURVES = {"vae": "VAE: L1 + 8 squared error", "transformer": "Transformer: flow matching",
          "turbo": "Turbo: straight lines"}  # fmt: skip
SIZE = (128, 128, 33)
COLUMNS, TEXT_HEIGHT, GAP = 8, 20, 3


def draw_curves(path: Path) -> None:
    """A panel for each training, loss over seconds."""
    figure, panels = plt.subplots(1, len(CURVES), figsize=(12, 3), layout="constrained")
    for panel, (name, title) in zip(panels, CURVES.items(), strict=True):
        rows = [json.loads(line) for line in (HERE / "logs" / f"{name}.jsonl").open()]
        panel.plot([row["seconds"] for row in rows], [row["loss"] for row in rows])
        panel.set(title=title, xlabel="seconds of steps", yscale="log")
        panel.grid(visible=True, which="both", alpha=0.3)
    figure.savefig(path, dpi=100)


def draw_sheet(path: Path) -> None:
    """A row for each movement, held-out combinations; turbo's too; an image that is moved."""
    torch.set_num_threads(2)
    model, rng = Model(ASSETS), random.Random(2)
    scenes = []
    for movement in names(MOVEMENTS):
        while True:
            scene = clips.random_scenes(1, rng, keep_out=True)[0]
            if scene.movement == clips.MOVEMENT[movement]:
                break
        scenes.append(scene)
    prompts = [caption(scene, rng, full=True) for scene in scenes]
    rows = list(zip(prompts, model(prompts, SIZE, seed=1), strict=True))
    few = prompts[:3]
    turbo = model(few, SIZE, seed=1, turbo=True)
    rows += [(f"turbo, 4 steps: {p}", v) for p, v in zip(few, turbo, strict=True)]
    image = drawn(scenes[3:5], (*SIZE[:2], 1), 8)[0]
    moves = ["the product moves right", "camera slowly zooming in"]
    moved = model(moves, SIZE, seed=1, context=image)
    rows += [(f"from the first frame: {p}", v) for p, v in zip(moves, moved, strict=True)]
    sheet(rows).quantize(256).save(path, optimize=True)


def sheet(rows: list[tuple[str, Tensor]]) -> Image.Image:
    """Each text above frames [3, F, H, W] at equal distances."""
    height, width, frames = SIZE
    step = TEXT_HEIGHT + height + GAP
    page = Image.new("RGB", (COLUMNS * (width + GAP), len(rows) * step), "white")
    draw, font = ImageDraw.Draw(page), ImageFont.load_default(13)
    for row, (text, video) in enumerate(rows):
        draw.text((2, row * step + 2), text, "black", font)
        for column in range(COLUMNS):
            frame = video[:, column * (frames - 1) // (COLUMNS - 1)].clamp(0, 1) * 255
            picture = Image.fromarray(frame.byte().permute(1, 2, 0).cpu().numpy())
            page.paste(picture, (column * (width + GAP), row * step + TEXT_HEIGHT))
    return page


if __name__ == "__main__":
    draw_curves(HERE / "curves.png")
    draw_sheet(HERE / "contact_sheet.png")
    print(f"{HERE}/curves.png, {HERE}/contact_sheet.png, made on {DEVICE.type}")
