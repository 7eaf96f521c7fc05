"""What imports what in src/onetake: the packages, their floors, and the arrows between them.

python -m docs.import_floors             # the working tree
python -m docs.import_floors REVISION    # a commit, such as 5b23b6f, before there were packages

A package is a top-level name below ``onetake``. An arrow is one name that imports another, counted
once. A package stands one floor above the highest package that it imports.
"""

import ast
import io
import subprocess
import sys
import tarfile
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parents[1]
SOURCE = "src/onetake"
# Imports run from right to left only; names of one group do not import each other.
ORDER = "runtime < media < models < jobs < seams, trust < delivery < takes < entrypoints"
RANKS = {name: rank for rank, group in enumerate(ORDER.split(" < ")) for name in group.split(", ")}
Arrows = set[tuple[str, str]]


def working_tree(root: Path) -> dict[str, str]:
    """The text of each module, by its path below ``root``."""
    return {file.relative_to(root).as_posix(): file.read_text() for file in root.rglob("*.py")}


def committed_tree(revision: str) -> dict[str, str]:
    """The same of a commit, without checking it out."""
    command = ["git", "archive", "--format=tar", revision, SOURCE]
    archive = subprocess.run(command, cwd=ROOT, check=True, capture_output=True).stdout  # noqa: S603
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        return {
            member.name.removeprefix(f"{SOURCE}/"): content.read().decode()
            for member in tar
            if member.name.endswith(".py") and (content := tar.extractfile(member))
        }


def module_arrows(sources: dict[str, str]) -> Arrows:
    """Which module imports which; names are without ``onetake.`` before them."""
    modules = set(map(_name, sources))
    arrows = set()
    for path, text in sources.items():
        for node in ast.walk(ast.parse(text)):
            targets: list[tuple[str, str]] = []
            if isinstance(node, ast.Import):
                targets = [(alias.name, "") for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                targets = [(node.module or "", alias.name) for alias in node.names]
            for target, member in targets:
                if _package(target) == "onetake":
                    package = target.removeprefix("onetake").removeprefix(".") or "__init__"
                    submodule = f"{package}.{member}".removeprefix("__init__.")
                    arrows.add((_name(path), submodule if submodule in modules else package))
    return {(source, target) for source, target in arrows if source != target}


def package_arrows(arrows: Arrows) -> Arrows:
    """The same between top-level names."""
    pairs = {(_package(source), _package(target)) for source, target in arrows}
    return {(source, target) for source, target in pairs if source != target}


def floors(packages: set[str], arrows: Arrows) -> dict[str, int]:
    """The floor of each package, from 1; packages that import each other share one."""
    below = {name: {target for source, target in arrows if source == name} for name in packages}
    for middle in packages:
        for name in packages:
            if middle in below[name]:
                below[name] |= below[middle]

    def floor(name: str) -> int:
        return 1 + max((floor(low) for low in below[name] if name not in below[low]), default=0)

    return {name: floor(name) for name in packages}


def report(sources: dict[str, str]) -> str:
    """The figures, the imports that run the wrong way, and a table of the packages."""
    sizes = Counter(_package(_name(path)) for path in sources)
    arrows = module_arrows(sources)
    between = package_arrows(arrows)
    heights = floors(set(sizes), between)
    busiest = Counter(source for source, _ in sorted(arrows)).most_common(5)
    lines = [
        f"{len(sources)} modules in {len(sizes)} packages on {max(heights.values())} floors",
        f"{len(between)} arrows between packages, {len(arrows)} between modules",
        "most imports: " + ", ".join(f"{name} {count}" for name, count in busiest),
    ]
    if set(RANKS) <= set(sizes):
        wrong = sorted(pair for pair in arrows if _runs_the_wrong_way(*pair))
        lines.append(f"imports that run the wrong way: {len(wrong)}")
        lines += [f"  {source} imports {target}" for source, target in wrong]
    lines += ["", "| floor | package | modules | imports |", "|---|---|---|---|"]
    for name in sorted(sizes, key=lambda name: (heights[name], name)):
        targets = ", ".join(sorted(target for source, target in between if source == name))
        lines.append(f"| {heights[name]} | {name} | {sizes[name]} | {targets} |")
    return "\n".join(lines)


def _name(path: str) -> str:
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def _package(module: str) -> str:
    return module.partition(".")[0]


def _runs_the_wrong_way(source: str, target: str) -> bool:
    above, below = _package(source), _package(target)
    return above != below and RANKS.get(above, len(ORDER)) <= RANKS.get(below, -1)


if __name__ == "__main__":
    print(report(committed_tree(sys.argv[1]) if sys.argv[1:] else working_tree(ROOT / SOURCE)))
