"""The models, one row each. A row names its family, which is imported when it is needed."""

from dataclasses import replace

from onetake.models.spec import Memory, ModelSpec, Network, Sampling, SegmentLimits

TINY = "tiny"
DEFAULT_ON_GPU = "wan2.2-ti2v-5b"
_WAN = "onetake.models.families.wan"

_WAN_5B = ModelSpec(
    name=DEFAULT_ON_GPU,
    repo_id="Wan-AI/Wan2.2-TI2V-5B-Diffusers",
    revision="b8fff7315c768468a5333511427288870b2e9635",
    family=_WAN,
    licence="Apache-2.0",
    segment=SegmentLimits(
        sizes=((1280, 704), (704, 1280), (960, 960)),
        default_size=(1280, 720),
        native_fps=24,
        min_frames=17,
        max_frames=121,
    ),
    sampling=Sampling(
        num_inference_steps=50, guidance_scale=5.0, flow_shift=5.0, max_sequence_length=512
    ),
    network=Network(layers=30, hidden_size=3072, ffn_size=14336, vae_tflop=2011.0),
    memory=Memory(
        text_encoder_gib=10.6,
        transformer_gib=9.3,
        vae_gib=1.3,
        denoise_gib=2.9,
        decode_gib=10.0,
        tile_gib=6.4,
    ),
    overlaps=(1, 5, 9, 17),
    default_overlap=9,
    few_steps="wan2.2-ti2v-5b-turbo",
)
_WAN_5B_TURBO = replace(
    _WAN_5B,
    name=_WAN_5B.few_steps,
    repo_id="FastVideo/FastWan2.2-TI2V-5B-FullAttn-Diffusers",
    revision="3e187042a324f6f5fb68fd22110a78725253de8f",
    sampling=replace(
        _WAN_5B.sampling,
        num_inference_steps=3,
        guidance_scale=1.0,
        distilled=True,
        sigmas=(1.0, 0.757, 0.522),  # of FastVideo's own sampler, 1000, 757 and 522 of 1000
    ),
    overlaps=(),  # it was distilled for text alone
    default_overlap=0,
    few_steps="",
)
_WAN_1_3B = ModelSpec(
    name="wan2.1-t2v-1.3b",
    repo_id="Wan-AI/Wan2.1-T2V-1.3B-Diffusers",
    revision="0fad780a534b6463e45facd96134c9f345acfa5b",
    family=_WAN,
    licence="Apache-2.0",
    segment=SegmentLimits(
        sizes=((832, 480), (480, 832), (624, 624)),
        default_size=(832, 480),
        native_fps=16,
        min_frames=17,
        max_frames=81,
        size_multiple=16,
    ),
    sampling=Sampling(
        num_inference_steps=50, guidance_scale=6.0, flow_shift=8.0, max_sequence_length=512
    ),
    network=Network(layers=30, hidden_size=1536, ffn_size=8960, vae_tflop=275.0),
    memory=Memory(
        text_encoder_gib=10.6,
        transformer_gib=2.6,
        vae_gib=0.2,
        denoise_gib=2.5,
        decode_gib=4.0,
        tile_gib=1.0,
    ),
)
_WAN_A14B = replace(
    _WAN_1_3B,
    name="wan2.2-t2v-a14b",
    repo_id="Wan-AI/Wan2.2-T2V-A14B-Diffusers",
    revision="5be7df9619b54f4e2667b2755bc6a756675b5cd7",
    segment=replace(
        _WAN_1_3B.segment,
        sizes=((832, 480), (480, 832), (624, 624), (1280, 720), (720, 1280)),
    ),
    sampling=replace(
        _WAN_1_3B.sampling,
        num_inference_steps=40,
        guidance_scale=4.0,
        expert_guidance=3.0,
        flow_shift=12.0,
    ),
    network=replace(_WAN_1_3B.network, layers=40, hidden_size=5120, ffn_size=13824),
    memory=replace(
        _WAN_1_3B.memory,
        transformer_gib=53.2,
        denoise_gib=8.2,  # with the blocks that are streamed through the card
    ),
)
_TINY = ModelSpec(
    name=TINY,
    repo_id="",
    revision="",
    family=_WAN,
    licence="Apache-2.0",
    segment=SegmentLimits(
        sizes=((224, 128), (128, 224), (160, 160)),
        default_size=(224, 128),
        native_fps=16,
        min_frames=17,
        max_frames=33,
    ),
    sampling=Sampling(
        num_inference_steps=12,
        guidance_scale=3.5,
        continued_guidance=1.0,  # docs/CHAINING.md
        flow_shift=3.0,
        max_sequence_length=64,
    ),
    network=Network(layers=7, hidden_size=256, ffn_size=512, vae_tflop=0.076),
    memory=Memory(
        text_encoder_gib=0.0,
        transformer_gib=0.0,
        vae_gib=0.0,
        denoise_gib=0.1,
        decode_gib=0.1,
        tile_gib=0.1,
    ),
    overlaps=(1, 5, 9, 17),
    default_overlap=9,
    few_steps="tiny-turbo",
)
_TINY_TURBO = replace(
    _TINY,
    name=_TINY.few_steps,
    sampling=replace(_TINY.sampling, num_inference_steps=4, guidance_scale=1.0, distilled=True),
    few_steps="",
    base=TINY,
)
MODELS = {
    spec.name: spec for spec in (_WAN_5B, _WAN_5B_TURBO, _WAN_1_3B, _WAN_A14B, _TINY, _TINY_TURBO)
}
