"""The embedded model does what it is told: the short form of `make evaluate`."""

import pytest

from training.evaluate import ASSETS, main


@pytest.mark.timeout(600)  # a minute on two quiet cores
def test_the_embedded_model_reaches_its_bars() -> None:
    """A sample of prompts, of both sets of weights, judged by the pixel evaluator."""
    assert main(ASSETS, short=True, figures=None) == 0
