"""What PyPI gets of the project: a README without links into files that are not there."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))


def on_pypi():
    """The README as the build hook makes it."""
    hook = PROJECT["tool"]["hatch"]["metadata"]["hooks"]["fancy-pypi-readme"]
    text = "".join((ROOT / part["path"]).read_text("utf-8") for part in hook["fragments"])
    for rule in hook["substitutions"]:
        text = re.sub(rule["pattern"], rule["replacement"], text)
    return text


def test_the_readme_on_pypi_has_no_relative_links():
    text = on_pypi()
    targets = re.findall(r"\]\(([^)]*)\)", text)
    assert targets
    assert [t for t in targets if not t.startswith(("https://", "#"))] == []
    assert "docs/tables.md" in text  # a link has become its text
    assert "![" not in text
    assert "```python\nimport caudal" in text


def test_an_extra_stands_in_the_pages_by_its_name():
    pages = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
    named = {
        name
        for page in pages
        for names in re.findall(r"(?:caudal|\.)\[([a-z0-9,]+)\]", page.read_text("utf-8"))
        for name in names.split(",")
    }
    assert named <= set(PROJECT["project"]["optional-dependencies"])
    assert {"fast", "excel", "onnx"} <= named
