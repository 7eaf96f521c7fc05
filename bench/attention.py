"""8-bit attention on a card: each kernel alone, and in a compiled block of the default model.

    python -m bench.attention    # needs a GPU; a minute on an H200

The default job's tokens, 1280x704 and 121 frames. Errors are against float32 attention on the
same Gaussian noise, which is what random weights give and no trained model's.
"""

import json
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import torch

from bench.full_size import build
from onetake.models.acceleration import attention, linears

RESULTS = Path(__file__).parent / "results" / "attention.json"
MODEL = "wan2.2-ti2v-5b"
TOKENS, HEADS, WIDTH = 31 * 44 * 80 // 4, 24, 128
ROUNDS = 10
# The 8 bits of a block's linear layers and of its attention, if any.
BLOCKS: tuple[tuple[linears.Kind | None, linears.Kind | None], ...] = (
    (None, None), ("int8", None), ("int8", "int8"), ("fp8", None), ("fp8", "fp8"),
)  # fmt: skip


def milliseconds(work: Callable[[], object]) -> float:
    """The median of some runs on the card, after two that are not counted."""
    taken = []
    for number in range(ROUNDS + 2):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        work()
        end.record()
        torch.cuda.synchronize()
        if number > 1:
            taken.append(begin.elapsed_time(end))
    return median(taken)


def kernels() -> list[dict[str, Any]]:
    """Every kernel alone, quantising compiled, and its error."""
    noise = torch.Generator("cuda").manual_seed(0)
    inputs = [
        torch.randn(1, TOKENS, HEADS, WIDTH, device="cuda", dtype=torch.bfloat16, generator=noise)
        for _ in range(3)
    ]
    some = [part[:, : attention.TRIED, :4].contiguous() for part in inputs]
    expected = attention.rounded(*some, kind=None).float()
    rows = []
    for name, attend in {"bf16": attention.own, **attention.KERNELS}.items():
        compiled = torch.compile(attend)
        try:
            actual, rounded = attend(*some).float(), name if name != "bf16" else None
            alike = attention.rounded(*some, kind=rounded).float()
            row = {
                "kernel": name, "milliseconds": milliseconds(partial(compiled, *inputs)),
                "error": float((actual - expected).norm() / expected.norm()),
                "off its own rounding": float((actual - alike).norm() / expected.norm()),
                "told at boot": attention.fault(attend, WIDTH),
            }  # fmt: skip
        except Exception as error:  # noqa: BLE001 - the others are measured all the same
            row = {"kernel": name, "failed": f"{type(error).__name__}: {error}"[:300]}
        print(row, flush=True)
        rows.append(row)
    return rows


def blocks() -> list[dict[str, Any]]:
    """A compiled block as loaded, with 8-bit linear layers, and with each attention too."""
    noise = torch.Generator("cuda").manual_seed(0)
    rows = []
    for kind, attend in BLOCKS:
        torch._dynamo.reset()  # noqa: SLF001 - as torch documents it
        transformer = build(MODEL, 3).transformer.cuda()
        if kind is not None:
            linears.eight_bit_linears(transformer, kind)
        if attend is not None:
            attention.eight_bit_attention(transformer, attention.KERNELS[attend])
        block = transformer.blocks[1]
        block.compile(fullgraph=True)
        width = HEADS * WIDTH
        tokens, text = (
            torch.randn(1, n, width, device="cuda", dtype=torch.bfloat16, generator=noise)
            for n in (TOKENS, 512)
        )
        steps = torch.randn(1, 6, width, device="cuda", generator=noise)
        latents = torch.empty(1, 48, 31, 44, 80, device="cuda", dtype=torch.bfloat16)
        rope = transformer.rope(latents)
        row: dict[str, Any] = {"linears": kind or "bf16", "attention": attend or "bf16"}
        try:
            with torch.no_grad():
                row["milliseconds"] = milliseconds(partial(block, tokens, text, steps, rope))
        except Exception as error:  # noqa: BLE001 - the others are measured all the same
            row["failed"] = f"{type(error).__name__}: {error}"[:300]
        print(row, flush=True)
        rows.append(row)
    return rows


def main() -> None:
    """Both tables, with the card and the versions."""
    about = {
        "card": torch.cuda.get_device_name(), "torch": torch.__version__,
        "cudnn": torch.backends.cudnn.version(),
        "command": " ".join(["python -m bench.attention", *sys.argv[1:]]),
        "tokens": TOKENS, "kernels": kernels(), "blocks": blocks(),
    }  # fmt: skip
    RESULTS.write_text(json.dumps(about, indent=1) + "\n")


if __name__ == "__main__":
    main()
