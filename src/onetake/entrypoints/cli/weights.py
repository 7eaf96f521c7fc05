"""`onetake weights fetch | list | verify | quantise`, and what builder/preload_weights.py runs."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn
from rich.table import Table

from onetake.entrypoints.cli.console import err, out, refusals
from onetake.models import catalogue, choice
from onetake.models.families import quantiser_of
from onetake.models.spec import ModelSpec
from onetake.models.weights import places
from onetake.models.weights.fetch import OnProgress, fetch
from onetake.models.weights.manifest import WeightsManifest, is_int8, verify
from onetake.runtime.errors import SettingsError
from onetake.runtime.settings import Settings

app = typer.Typer(help="The weights of the models: fetch, check, make smaller.")
_GIGABYTE = 1e9
_SECRET = Path("/run/secrets/hf_token")  # where an image build mounts a secret of this name

ModelsArgument = Annotated[
    list[str] | None, typer.Argument(help="Names from `onetake models`; none: all of them.")
]
FormsArgument = Annotated[
    list[str] | None,
    typer.Argument(help="Names from `onetake models`, or with -int8; none: all models."),
]


@app.command(name="fetch")
def fetch_weights(
    names: FormsArgument = None,
    to: Annotated[
        Path | None, typer.Option(help="Folder for one folder a model; else ONETAKE_WEIGHTS_DIR.")
    ] = None,
    from_: Annotated[
        Path | None, typer.Option("--from", help="A volume that may hold them already.")
    ] = None,
) -> None:
    """Bring weights from RunPod's cache, a volume or the hub, and check every byte."""
    with refusals():
        settings = Settings.read()
        token = _SECRET.read_text().strip() if _SECRET.is_file() else os.environ.get("HF_TOKEN")
        for name in names or [spec.name for spec in _specs(None)]:
            (spec,) = _specs([name.removesuffix(places.SMALL)])
            folder = (to or settings.weights_dir) / name
            with _bar(name) as on_progress:
                manifest, source = fetch(
                    spec,
                    folder,
                    places=[p for p in _places(spec, name, settings, from_) if p != folder],
                    token=token,
                    on_progress=on_progress,
                )
            size = f"{manifest.size / _GIGABYTE:.2f} GB"
            print(f"{name}: {len(manifest.files)} files, {size}, {source}")


@app.command(name="list")
def list_weights() -> None:
    """Show what is here of each model, and at which revision."""
    table = Table("model", "form", "revision", "size", "manifest", title="weights")
    with refusals():
        settings = Settings.read()
        for spec in catalogue.MODELS.values():
            folders = places.weight_places(spec, settings)
            for place in folders:
                manifest = WeightsManifest.read(place)
                files = place.rglob("*.safetensors")
                size = manifest.size if manifest else sum(f.stat().st_size for f in files)
                form = manifest.form if manifest else "original"
                revision = places.weights_revision(place)[:12]
                has_manifest = "yes" if manifest else "no"
                gigabytes = f"{size / _GIGABYTE:.2f} GB"
                table.add_row(spec.name, form, revision, gigabytes, has_manifest)
            if not folders:
                table.add_row(spec.name, "", f"{spec.revision[:12]} wanted", "missing", "")
    out.print(table)


@app.command(name="verify")
def verify_weights(names: ModelsArgument = None) -> None:
    """Read all weights that are here and compare them with their manifests."""
    with refusals():
        settings = Settings.read()
        for spec in _specs(names):
            for place in places.weight_places(spec, settings):
                total = sum(f.stat().st_size for f in place.rglob("*") if f.is_file())
                read = 0
                with _bar(place.name) as on_progress:

                    def on_bytes(count: int, total: int = total) -> None:
                        nonlocal read
                        read += count
                        on_progress("checking", read, total)

                    compared = verify(place, on_bytes)
                checked = f"{compared / _GIGABYTE:.2f} GB as they must be"
                print(f"{spec.name}: {checked if compared else 'whole, but no hashes are known'}")


@app.command()
def quantise(
    name: Annotated[str, typer.Argument(help="A name from `onetake models`.")],
    lora: Annotated[
        list[str] | None, typer.Option(help="A LoRA file to fuse first, as FILE or FILE:strength.")
    ] = None,
    to: Annotated[
        Path | None, typer.Option(help="Folder for the result; else beside the original.")
    ] = None,
) -> None:
    """Write a model's 8-bit form: half the bytes to load, and all of it on a 24 GB card."""
    with refusals():
        settings = Settings.read()
        if lora and not find_spec("peft"):
            raise SettingsError("--lora", "needs peft; install onetake[build]")
        (spec,) = _specs([name])
        original = next((p for p in places.weight_places(spec, settings) if not is_int8(p)), None)
        if original is None:
            raise SettingsError("ONETAKE_WEIGHTS_DIR", f"holds no weights of {name}; fetch them")
        if lora and (original / "transformer_2").is_dir():
            raise SettingsError("--lora", f"{name} has two experts, which LoRA files are not for")
        folder = places.small_form((to or settings.weights_dir) / spec.name)
        folder.parent.mkdir(parents=True, exist_ok=True)
        revision, adapters = places.weights_revision(original), [_lora(text) for text in lora or []]
        manifest = quantiser_of(spec)(spec, original, revision, folder, adapters, err.print)
        print(f"{spec.name}: {manifest.size / _GIGABYTE:.2f} GB in {folder.name}")


def _specs(names: list[str] | None) -> list[ModelSpec]:
    """The named rows, or every row whose weights are not part of the package.

    Raises:
        JobError: there is no such row.
    """
    if not names:
        return [spec for spec in catalogue.MODELS.values() if spec.repo_id]
    return [choice.resolve(name, Settings(), need_weights=False)[0] for name in names]


def _places(spec: ModelSpec, name: str, settings: Settings, volume: Path | None) -> list[Path]:
    """The folders that may hold a model, or its 8-bit form, which is in no cache."""
    own = [volume / name, volume / "models" / name] if volume else []
    if name != spec.name:
        return own
    folders = places.cached_places(spec, settings.hub_cache) + own
    if volume:
        folders += places.cached_places(spec, volume / "huggingface-cache" / "hub")
    return folders


def _lora(text: str) -> tuple[Path, float]:
    """FILE or FILE:strength.

    Raises:
        SettingsError: there is no such safetensors file, or the strength is no number.
    """
    name, colon, strength = text.rpartition(":")
    file = Path(name if colon else text)
    try:
        value = float(strength) if colon else 1.0
    except ValueError:
        raise SettingsError("--lora", f"{strength!r} is no number; write FILE:0.8") from None
    if not file.is_file() or file.suffix != ".safetensors":  # others may hold code
        raise SettingsError("--lora", f"{file.name} is no safetensors file here; check its name")
    return file, value


@contextmanager
def _bar(name: str) -> Iterator[OnProgress]:
    """A bar of bytes on stderr."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
    )
    with Progress(*columns, console=err) as bar:
        task = bar.add_task(name, total=None)

        def show(what: str, done: int, total: int) -> None:
            bar.update(task, description=f"{name}: {what}", completed=done, total=total)

        yield show
