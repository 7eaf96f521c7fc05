"""docs/import_floors.py on a small tree that is made up here."""

from pathlib import Path

from docs.import_floors import ORDER, floors, module_arrows, report, working_tree

TREE = {
    "__init__.py": "",
    "runtime/__init__.py": "import os\n",
    "runtime/errors.py": "",
    "media/__init__.py": "from onetake.runtime import errors\n",
    "media/probe.py": "from onetake import runtime\nfrom onetake.media import frames\n",
    "media/frames.py": "def later():\n    import onetake.takes.story\n",
    "takes/story.py": "from onetake.media.probe import measure\nfrom numpy import onetake\n",
}


def test_what_a_tree_imports() -> None:
    """Modules are told from names in modules, and packages that import each other share a floor."""
    assert module_arrows(TREE) == {
        ("media", "runtime.errors"),
        ("media.probe", "runtime"),
        ("media.probe", "media.frames"),
        ("media.frames", "takes.story"),
        ("takes.story", "media.probe"),
    }
    arrows = {("media", "runtime"), ("media", "takes"), ("takes", "media"), ("cli", "takes")}
    assert floors({"runtime", "media", "takes", "cli"}, arrows) == {
        "runtime": 1,
        "media": 2,
        "takes": 2,
        "cli": 3,
    }


def test_the_report(tmp_path: Path) -> None:
    """It counts floors and arrows, and names the imports that run the wrong way."""
    for name in ORDER.replace(",", " <").split(" < "):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").touch()
    for path, text in TREE.items():
        (tmp_path / path).write_text(text)
    (tmp_path / "trust" / "__init__.py").write_text("import onetake.seams\n")
    lines = report(working_tree(tmp_path)).splitlines()
    assert lines[:2] == [
        "14 modules in 10 packages on 2 floors",
        "4 arrows between packages, 6 between modules",
    ]
    assert lines[3:6] == [
        "imports that run the wrong way: 2",
        "  media.frames imports takes.story",
        "  trust imports seams",
    ]
    assert "| 2 | media | 3 | runtime, takes |" in lines
