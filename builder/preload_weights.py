"""Bring the models' weights into the image, or onto the volume, before any worker starts.

python builder/preload_weights.py [MODEL ...] --to DIR [--from VOLUME]

The same as `onetake weights fetch`: RunPod's cached models first, then the volume, then the hub.
"""

import typer

from onetake.entrypoints.cli.weights import fetch_weights

if __name__ == "__main__":
    typer.run(fetch_weights)
