"""Seconds from disk to GPU for the default model's weights, by loader: the table of README.

    python -m bench.loaders FOLDER        # needs a GPU and 40 GB of disk; six minutes

Writes the model at full size with random weights (bf16, 23 GB) and its 8-bit form (12 GB) to
FOLDER, then loads each in fresh processes: cold after the file cache gave up the files, then warm.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch

from bench.full_size import build

RESULTS = Path(__file__).parent / "results" / "loaders.json"
MODEL = "wan2.2-ti2v-5b"
SHARD = "5GB"
CUDA = torch.device("cuda")


def diffusers_default(folder: Path) -> object:
    """What `from_pretrained` and `to` do."""
    from diffusers import WanPipeline  # noqa: PLC0415 - each process imports what it times

    pipeline = WanPipeline.from_pretrained(folder, dtype=torch.bfloat16, local_files_only=True)
    return pipeline.to(CUDA)


def onetake(folder: Path) -> object:
    """The worker's own: a thread for each file."""
    from onetake.models.families.wan.loading import load_pipeline  # noqa: PLC0415

    return load_pipeline(folder, CUDA)


def runai_streamer(folder: Path) -> object:
    """RunAI's model streamer; tensors only, no modules around them."""
    from runai_model_streamer import SafetensorsStreamer  # noqa: PLC0415

    tensors = []
    with SafetensorsStreamer() as streamer:
        streamer.stream_files([str(file) for file in sorted(folder.rglob("*.safetensors"))])
        for _name, tensor in streamer.get_tensors():
            tensors.append(tensor.to(CUDA))
    return tensors


LOADERS: dict[str, tuple[Callable[[Path], object], dict[str, str]]] = {
    "diffusers": (diffusers_default, {}),
    "diffusers, parallel": (diffusers_default, {"HF_ENABLE_PARALLEL_LOADING": "YES"}),
    "onetake": (onetake, {}),
    "runai-model-streamer": (runai_streamer, {}),
}
# The 8-bit form is ours: diffusers cannot read it.
FOR_INT8 = ("onetake", "runai-model-streamer")


def write_weights(folder: Path) -> dict[str, Path]:
    """Both forms of the model, if they are not there yet."""
    from onetake.models.catalogue import MODELS  # noqa: PLC0415
    from onetake.models.families.wan import int8  # noqa: PLC0415

    original, small = folder / MODEL, folder / f"{MODEL}-int8"
    if not original.exists():
        build(MODEL).save_pretrained(original, max_shard_size=SHARD)
    if not small.exists():
        int8.quantise(MODELS[MODEL], original, "random", small, [], print)
    return {"bf16": original, "int8": small}


def forget(folder: Path) -> None:
    """Let the host's file cache give up the folder's files."""
    os.sync()
    for file in folder.rglob("*.safetensors"):
        with file.open("rb") as opened:
            os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def timed(loader: str, folder: Path) -> float:
    """Seconds of one load; libraries are imported and the card is awake before."""
    torch.zeros(1, device=CUDA)
    import diffusers.pipelines.wan.pipeline_wan  # noqa: F401, PLC0415

    started = time.monotonic()
    kept = LOADERS[loader][0](folder)
    torch.cuda.synchronize()
    seconds = time.monotonic() - started
    del kept
    return seconds


def main(folder: Path) -> None:
    """Write, load, print."""
    rows = []
    for form, weights in write_weights(folder).items():
        size = sum(file.stat().st_size for file in weights.rglob("*.safetensors")) / 1e9
        for loader in LOADERS if form == "bf16" else FOR_INT8:
            seconds = []
            forget(weights)
            for _ in ("cold", "warm"):
                command = [sys.executable, "-m", "bench.loaders", str(weights), "--one", loader]
                ended = subprocess.run(
                    command, env=os.environ | LOADERS[loader][1], stdout=subprocess.PIPE, text=True,
                    check=True,
                )  # fmt: skip
                seconds.append(round(float(ended.stdout.split()[-1]), 2))
            rows.append({"form": form, "gigabytes": round(size, 1), "loader": loader,
                         "seconds": seconds})  # fmt: skip
            print(rows[-1], flush=True)
            report = {"card": torch.cuda.get_device_name(), "rows": rows}
            RESULTS.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    if "--one" in sys.argv:
        print(timed(sys.argv[3], Path(sys.argv[1])))
    else:
        main(Path(sys.argv[1]))
