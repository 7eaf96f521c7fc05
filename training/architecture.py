"""The embedded model's modules, untrained: Wan2.2-TI2V-5B's layout at a thousandth its size.

    python -m training.architecture OUT_DIR      # writes random weights that stock diffusers loads

Parameters: VAE 5.0M, transformer 6.2M, text encoder 0.5M. What is not like the original: the width
and depth, a patch of 4 instead of 2 inside the VAE, and a word-level tokenizer.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from diffusers import (
    AutoencoderKLWan,
    UniPCMultistepScheduler,
    WanPipeline,
    WanTransformer3DModel,
)
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast, UMT5Config, UMT5EncoderModel

from training.captions import vocabulary

Z_DIM = 48  # latent channels, as in the original
TEXT_DIM = 128
TEXT_LENGTH = 64  # tokens that training and serving pad to
VOCABULARY_ROWS = 1024  # rows of the embedding: room for words to come


def build_tokenizer() -> PreTrainedTokenizerFast:
    """Lower-cased words, everything but letters and digits dropped; `</s>` closes every prompt."""
    words = ["<pad>", "</s>", "<unk>", *vocabulary()]
    if len(words) > VOCABULARY_ROWS:
        message = f"{len(words)} words do not fit in {VOCABULARY_ROWS} rows"
        raise ValueError(message)
    tokenizer = Tokenizer(models.WordLevel({w: i for i, w in enumerate(words)}, unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Sequence(
        [
            normalizers.NFKC(),
            normalizers.Lowercase(),
            normalizers.Replace(Regex("[^a-z0-9]+"), " "),
        ]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s>", special_tokens=[("</s>", 1)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        eos_token="</s>",
        unk_token="<unk>",
        model_max_length=512,
    )


def build_text_encoder() -> UMT5EncoderModel:
    """Two layers, 128 wide: enough to bind a colour to its noun."""
    config = UMT5Config(
        vocab_size=VOCABULARY_ROWS,
        d_model=TEXT_DIM,
        d_kv=32,
        d_ff=256,
        num_layers=2,
        num_heads=4,
        relative_attention_num_buckets=32,
        relative_attention_max_distance=64,
        feed_forward_proj="gated-gelu",
        dropout_rate=0.0,
        pad_token_id=0,
        eos_token_id=1,
    )
    return UMT5EncoderModel(config)


def build_vae() -> AutoencoderKLWan:
    """The 2.2 kind: 16x16x4 compression, causal in time, residual shortcuts."""
    vae = AutoencoderKLWan(
        base_dim=32,
        decoder_base_dim=48,
        z_dim=Z_DIM,
        dim_mult=[1, 2, 2],
        num_res_blocks=1,
        temperal_downsample=[True, True],
        latents_mean=[0.0] * Z_DIM,
        latents_std=[1.0] * Z_DIM,
        is_residual=True,
        in_channels=48,
        out_channels=48,
        patch_size=4,
        scale_factor_temporal=4,
        scale_factor_spatial=16,
    )
    with torch.no_grad():
        for half in (vae.encoder, vae.decoder):
            # RMS norms discard magnitude; beside a large constant vector it survives as direction.
            signs = torch.randint(0, 2, half.conv_in.bias.shape) * 2 - 1
            half.conv_in.bias.copy_(signs.float())
        for name, module in vae.named_modules():
            # Residual branches that start at zero let the shortcuts carry the first steps.
            if name.endswith((".conv2", ".proj")):
                module.weight.zero_()
                module.bias.zero_()
    return vae


def build_transformer() -> WanTransformer3DModel:
    """Seven blocks, 256 wide, because a token holds 192 noisy values (48 channels x 2 x 2)."""
    transformer = WanTransformer3DModel(
        patch_size=(1, 2, 2),
        num_attention_heads=8,
        attention_head_dim=32,
        in_channels=Z_DIM,
        out_channels=Z_DIM,
        text_dim=TEXT_DIM,
        freq_dim=64,
        ffn_dim=512,
        num_layers=7,
    )
    with torch.no_grad():
        # The patch passes through untouched at first: orthonormal in, its transpose out.
        embed = transformer.patch_embedding
        torch.nn.init.orthogonal_(embed.weight.view(embed.out_channels, -1))
        embed.bias.zero_()
        # proj_out writes (patch, channel) where patch_embedding reads (channel, patch).
        inverse = embed.weight.flatten(2).permute(2, 1, 0).reshape(-1, embed.out_channels)
        transformer.proj_out.weight.copy_(0.8 * inverse)
        transformer.proj_out.bias.zero_()
        for block in transformer.blocks:
            block.scale_shift_table[:, [2, 5]] = 1.0  # open gates
            for layer in (block.attn1.to_out[0], block.attn2.to_out[0], block.ffn.net[2]):
                layer.weight.mul_(0.3)
                layer.bias.zero_()
    return transformer


def build_scheduler() -> UniPCMultistepScheduler:
    """The original's scheduler; flow_shift 3 suits small frames."""
    return UniPCMultistepScheduler(
        prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0
    )


def build_pipeline(seed: int = 0) -> WanPipeline:
    """Everything at random (float32), in the layout that `WanPipeline.save_pretrained` writes."""
    torch.manual_seed(seed)
    return WanPipeline(
        tokenizer=build_tokenizer(),
        text_encoder=build_text_encoder(),
        transformer=build_transformer(),
        vae=build_vae(),
        scheduler=build_scheduler(),
        expand_timesteps=True,
    )


def save_pipeline(pipeline: WanPipeline, folder: Path) -> None:
    """Write bf16 weights; load them with a dtype, which keeps norms and time embedder in fp32."""
    pipeline.to(torch.bfloat16)
    pipeline.save_pretrained(folder)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    save_pipeline(build_pipeline(), parser.parse_args().out)
