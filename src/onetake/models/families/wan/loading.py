"""From files to modules: a thread reads each file, straight to the device where it will work.

`bench/loaders.py` compares this with diffusers' own loading and with other libraries.
"""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from accelerate import init_empty_weights
from diffusers import AutoencoderKLWan, UniPCMultistepScheduler, WanPipeline, WanTransformer3DModel
from safetensors import safe_open
from torch import Tensor
from transformers import AutoTokenizer, UMT5Config, UMT5EncoderModel

from onetake.models.families.wan import int8
from onetake.models.weights.manifest import is_int8

_EXPERT = "transformer_2"  # for the later steps; most models have none
COMPONENTS = ("transformer", _EXPERT, "text_encoder", "vae")
_KINDS = {
    "transformer": WanTransformer3DModel,
    _EXPERT: WanTransformer3DModel,
    "vae": AutoencoderKLWan,
}
_READERS = 8


def load_pipeline(weights: Path, device: torch.device, *lenders: Path) -> WanPipeline:
    """The pipeline of a folder in diffusers' layout, or of its 8-bit form, on ``device``, in bf16.

    A component that the folder leaves out comes from the first of ``lenders`` that has it. What
    diffusers keeps in float32 stays so: the result equals `WanPipeline.from_pretrained`'s.
    """

    def home(name: str) -> Path:
        return next(folder for folder in (weights, *lenders) if (folder / name).is_dir())

    names = [name for name in COMPONENTS if name != _EXPERT or (weights / name).is_dir()]
    modules = {name: _empty(home(name), name) for name in names}
    with ThreadPoolExecutor(_READERS) as readers:
        files = {
            name: sorted((home(name) / name).glob("*.safetensors"), key=lambda f: -f.stat().st_size)
            for name in names
        }
        reads = {
            name: [readers.submit(_read, file, modules[name], device) for file in files[name]]
            for name in names
        }
        for name, module in modules.items():
            state = {key: value for job in reads[name] for key, value in job.result().items()}
            # Not strict: an embedding with two names is stored once.
            module.load_state_dict(state, assign=True, strict=False)
            module.to(device)  # what is computed, not stored; raises if a weight was missing
            module.eval().requires_grad_(requires_grad=False)
    index = _json(weights / "model_index.json")
    return WanPipeline(
        tokenizer=AutoTokenizer.from_pretrained(home("tokenizer") / "tokenizer"),
        scheduler=UniPCMultistepScheduler.from_pretrained(weights / "scheduler"),
        expand_timesteps=index.get("expand_timesteps", False),
        boundary_ratio=index.get("boundary_ratio"),
        **modules,
    )


def _empty(weights: Path, name: str) -> Any:
    """The module of a component without its weights."""
    place = weights / name
    module: Any
    with init_empty_weights(include_buffers=False):
        if name == "text_encoder":
            module = UMT5EncoderModel(UMT5Config.from_pretrained(place))
            module.set_input_embeddings(module.shared)
        else:
            module = _KINDS[name].from_config(_json(place / "config.json"))
        if name in int8.COMPONENTS and is_int8(weights):
            int8.swap(module)
    return module


def _read(file: Path, module: Any, device: torch.device) -> dict[str, Tensor]:
    """The file's tensors; each is cast on the device, so that no file is in its memory twice."""
    # transformers keeps its own list for float16 only.
    kept = () if isinstance(module, UMT5EncoderModel) else module._keep_in_fp32_modules or ()  # noqa: SLF001
    state = {}
    with safe_open(file, "pt", device=str(device)) as opened:
        for name in opened.keys():  # noqa: SIM118 - it is no dict
            value = opened.get_tensor(name)
            if value.is_floating_point():
                precise = any(part in name.split(".") for part in kept)
                value = value.to(torch.float32 if precise else torch.bfloat16)
            state[name] = value
    return state


def _json(file: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(file.read_bytes())
    return content
