"""The embedded model does what it is told: the short form of `make evaluate`."""

from training.evaluate import ASSETS, main


def test_the_embedded_model_reaches_its_bars() -> None:
    """A sample of prompts, of both sets of weights, judged by the pixel evaluator."""
    assert main(ASSETS, short=True, figures=None) == 0
