"""What tuning does to a pipeline changes its speed alone."""

import pytest
import torch

from onetake.models import MODELS, embedded_weights, load
from onetake.models.loading import load_pipeline
from onetake.settings import Settings
from onetake.spec import DenoiseRequest, VideoModel
from onetake.tuning import timesteps


@pytest.mark.parametrize("given", [0, 1, 2, 5])
def test_deduplicated_timesteps_change_no_bit(given: int) -> None:
    """With any number of given latents the transformer's output is the stock one's."""
    stock, tuned = (load_pipeline(embedded_weights(), torch.device("cpu")) for _ in range(2))
    timesteps.deduplicate_timesteps(tuned.transformer)
    generator = torch.Generator().manual_seed(given)
    latents = torch.randn(1, 48, 6, 8, 8, generator=generator).bfloat16()
    text = torch.randn(1, 12, 128, generator=generator).bfloat16()
    times = torch.full((1, 6 * 16), 700.0)
    times[:, : given * 16] = 0
    with torch.no_grad():
        expected, found = (
            p.transformer(latents, times, text, return_dict=False)[0] for p in (stock, tuned)
        )
    assert torch.equal(found, expected)


def test_a_prompt_is_encoded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Segments of one take share their prompts' embeddings; without guidance one is enough."""
    model: VideoModel = load(MODELS["tiny"], Settings())
    encoder, calls = model.pipeline.text_encoder, []
    stock = encoder.forward

    def counted(*given: object, **named: object) -> object:
        calls.append(1)
        return stock(*given, **named)

    monkeypatch.setattr(encoder, "forward", counted)

    def make(prompt: str, guidance: float) -> torch.Tensor:
        request = DenoiseRequest(prompt, "blurred", 64, 64, 17, 1, guidance, 3.0, 1)
        made: torch.Tensor = model.denoise(request, lambda _step: None)
        return made

    first, again = make("a red ball", 3.5), make("a red ball", 3.5)
    assert (len(calls), torch.equal(first, again)) == (2, True)
    make("a blue ball", 1.0)
    assert len(calls) == 3
