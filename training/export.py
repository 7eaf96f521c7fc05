"""Put trained weights into the package's assets, in the layout that stock diffusers loads.

python -m training.export WORK_DIR ASSETS_DIR      # writes tiny and tiny-turbo there
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path

import torch
from diffusers import UniPCMultistepScheduler
from safetensors.torch import load_file

from training.architecture import build_pipeline, build_transformer, save_pipeline
from training.train_turbo import STEPS


def main(work: Path, assets: Path) -> None:
    """Assemble the base pipeline, then the few-step transformer with the scheduler it needs."""
    # 1. The base.
    pipeline = build_pipeline()
    pipeline.vae.load_state_dict(load_file(work / "vae.safetensors"))
    pipeline.transformer.load_state_dict(load_file(work / "transformer.safetensors"))
    pipeline.text_encoder.load_state_dict(load_file(work / "text_encoder.safetensors"))
    stats = json.loads((work / "latent_stats.json").read_text())
    pipeline.vae.register_to_config(latents_mean=stats["mean"], latents_std=stats["std"])
    save_pipeline(pipeline, assets / "tiny")
    # 2. Turbo: a first-order solver, because the student was taught straight lines.
    if (work / "turbo.safetensors").exists():
        student = build_transformer()
        student.load_state_dict(load_file(work / "turbo.safetensors"))
        student.to(torch.bfloat16).save_pretrained(assets / "tiny-turbo" / "transformer")
        scheduler = UniPCMultistepScheduler.from_config(
            pipeline.scheduler.config, solver_order=1, disable_corrector=list(range(STEPS))
        )
        scheduler.save_pretrained(assets / "tiny-turbo" / "scheduler")
        index = json.loads((assets / "tiny" / "model_index.json").read_text())
        lent = ("text_encoder", "tokenizer", "transformer_2", "vae")  # the base's serve both
        index = {key: value for key, value in index.items() if key not in lent}
        (assets / "tiny-turbo" / "model_index.json").write_text(json.dumps(index, indent=2) + "\n")
    # 3. The evaluator lies beside its code.
    if (work / "judge.safetensors").exists():
        shutil.copy(work / "judge.safetensors", Path(__file__).with_name("judge.safetensors"))
    for path in assets.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("work", type=Path)
    parser.add_argument("assets", type=Path)
    arguments = parser.parse_args()
    main(arguments.work, arguments.assets)
