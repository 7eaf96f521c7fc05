"""Compile the C extension by which Triton reaches the card, so that the image needs no compiler.

python3 build_triton_driver.py        # in the image build; needs gcc, but no card

Triton would compile it before its first kernel. It lies beside its source afterwards, where
`onetake.models.acceleration.compiled` looks for it.
"""

import subprocess
import sysconfig
import tempfile
from pathlib import Path

from triton.backends.nvidia import driver


def main() -> None:
    """Link against an empty library of the driver's name, which the card's machine brings."""
    home, (name,) = Path(driver.dirname), driver.libraries
    extension = home / f"cuda_utils{sysconfig.get_config_var('EXT_SUFFIX')}"
    headers = [sysconfig.get_path("include"), *driver.include_dirs]
    with tempfile.TemporaryDirectory() as folder:
        gcc("-x", "c", "/dev/null", f"-Wl,-soname,{name}", "-o", f"{folder}/{name}")
        gcc(
            "-O3", str(home / "driver.c"), *(f"-I{place}" for place in headers),
            "-Wl,--no-as-needed", f"-L{folder}", f"-l:{name}", "-o", str(extension),
        )  # fmt: skip


def gcc(*arguments: str) -> None:
    """Compile a shared library."""
    subprocess.run(["gcc", "-shared", "-fPIC", *arguments], check=True)  # noqa: S603, S607


if __name__ == "__main__":
    main()
