"""Weights in 8 bits: made once, saved beside the original, loaded at half the bytes.

Each row of a linear layer or an embedding becomes int8 with one scale (symmetric, by its largest
value), as in LLM.int8() (Dettmers et al. 2022, arXiv:2208.07339) without its outlier path. The
arithmetic stays bf16: a row is scaled when it is used.
"""

import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, cast

import torch
from diffusers import WanPipeline
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

from onetake.models.quantisation import quantise as quantise_values
from onetake.models.spec import ModelSpec
from onetake.models.weights.manifest import INT8, WeightsManifest

_FILE = "model.safetensors"
COMPONENTS = ("transformer", "transformer_2", "text_encoder")  # those that are large enough
# Small, or read as numbers rather than features: they keep their precision.
_KEPT = ("condition_embedder", "proj_out", "patch_embedding", "relative_attention_bias")


class Int8Linear(nn.Module):
    """`nn.Linear` with int8 rows: weight (out, in), scale (out,) and bias (out,) or None."""

    def __init__(self, features: tuple[int, int], *, bias: bool) -> None:
        super().__init__()
        into, out = features
        self.weight = nn.Parameter(torch.empty(out, into, dtype=torch.int8), requires_grad=False)
        self.scale = nn.Parameter(torch.empty(out))
        self.bias = nn.Parameter(torch.empty(out)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        """(..., in) to (..., out) in the dtype of ``x``."""
        # Do not scale the product instead: torch.compile replaces that form by a kernel of its own,
        # which is made for single tokens.
        weight = self.weight.to(x.dtype) * self.scale.to(x.dtype)[:, None]
        return functional.linear(x, weight, self.bias)


class Int8Embedding(nn.Module):
    """`nn.Embedding` with int8 rows: weight (rows, width), scale (rows,)."""

    def __init__(self, rows: int, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(rows, width, dtype=torch.int8), requires_grad=False)
        self.scale = nn.Parameter(torch.empty(rows))

    def forward(self, ids: Tensor) -> Tensor:
        """Integers (...) to (..., width) in the scale's dtype."""
        scale = self.scale[ids]
        return self.weight[ids].to(scale.dtype) * scale[..., None]


def quantise(
    spec: ModelSpec,
    weights: Path,
    revision: str,
    folder: Path,
    adapters: Iterable[tuple[Path, float]],
    on_step: Callable[[str], object],
) -> WeightsManifest:
    """Write the 8-bit form of ``spec``'s ``weights`` to ``folder``, with its own manifest.

    ``adapters`` are LoRA files and their strengths, fused into the transformer first. The rest is
    copied, the VAE in bf16.
    """
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    names = []
    pipeline = WanPipeline.from_pretrained(weights, dtype=torch.bfloat16, local_files_only=True)
    for index, (file, strength) in enumerate(adapters):
        on_step(f"fusing {file.name}")
        pipeline.load_lora_weights(file.parent, weight_name=file.name, adapter_name=f"l{index}")
        pipeline.set_adapters(f"l{index}", strength)
        pipeline.fuse_lora(components=["transformer"])
        pipeline.unload_lora_weights()
        names.append(f"{file.stem}:{strength:g}")
    for component in COMPONENTS:
        module = getattr(pipeline, component)
        if module is None:  # no second expert
            continue
        on_step(f"quantising {component}")
        convert(module)
        place = partial / component
        place.mkdir(parents=True)
        save_file(_state(module), place / _FILE)
        save_config = getattr(module, "save_config", None) or module.config.save_pretrained
        save_config(place)
    on_step("writing the rest")
    for component in ("vae", "scheduler", "tokenizer"):
        getattr(pipeline, component).save_pretrained(partial / component)
    shutil.copy(weights / "model_index.json", partial)
    manifest = WeightsManifest.describe(
        partial,
        lambda _count: None,
        model=spec.name,
        repo_id=spec.repo_id,
        revision="+".join([revision, *names]),
        form=INT8,
    )
    shutil.rmtree(folder, ignore_errors=True)
    partial.rename(folder)
    return manifest


def convert(module: nn.Module) -> None:
    """Replace the module's linear layers and embeddings by their 8-bit forms, in place."""

    def fill(layer: nn.Module, empty: nn.Module) -> nn.Module:
        rows = cast("Tensor", layer.weight).detach()
        levels, scale = quantise_values(rows, torch.int8, 1, rows.dtype)
        state = {"weight": levels, "scale": scale[:, 0]}
        if getattr(layer, "bias", None) is not None:
            state["bias"] = cast("Tensor", layer.bias).detach()
        empty.load_state_dict(state, assign=True)
        return empty.requires_grad_(requires_grad=False)

    swap(module, fill)


def _unfilled(_layer: nn.Module, empty: nn.Module) -> nn.Module:
    return empty


def swap(module: Any, fill: Callable[[nn.Module, nn.Module], nn.Module] = _unfilled) -> None:
    """Put ``fill(layer, its empty 8-bit form)`` in the place of every layer that has one."""
    for name, parent in list(module.named_modules()):
        for key, layer in list(parent.named_children()):
            if any(part in f"{name}.{key}" for part in _KEPT):
                continue
            if type(layer) is nn.Linear:
                features, bias = (layer.in_features, layer.out_features), layer.bias is not None
                setattr(parent, key, fill(layer, Int8Linear(features, bias=bias)))
            elif type(layer) is nn.Embedding:
                empty = Int8Embedding(layer.num_embeddings, layer.embedding_dim)
                setattr(parent, key, fill(layer, empty))
    if hasattr(module, "shared"):  # the encoder's own name for the same embedding
        module.set_input_embeddings(module.shared)


def _state(module: nn.Module) -> dict[str, Tensor]:
    """The state dict with every tensor once."""
    once = {value.data_ptr(): name for name, value in reversed(module.state_dict().items())}
    state = module.state_dict()
    return {name: state[name].contiguous() for name in once.values()}
