"""What PyPI and the site get of the project, without building either."""

import inspect
import json
import re
import tomllib
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest

import caudal

ROOT = Path(__file__).parent.parent
SITE = tomllib.loads((ROOT / "zensical.toml").read_text("utf-8"))["project"]
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


def listed(entries):
    """The pages of a navigation."""
    for entry in entries:
        for place in entry.values():
            yield from [place] if isinstance(place, str) else listed(place)


def test_the_site_lists_every_page_once():
    places = list(listed(SITE["nav"]))
    assert len(places) == len(set(places))
    pages = [*(ROOT / "docs").rglob("*.md"), *(ROOT / "benchmarks" / "results").glob("*.md")]
    pages += [page.with_suffix(".md") for page in (ROOT / "notebooks").glob("*.py")]
    expected = {str(page.relative_to(ROOT)) for page in pages}
    expected |= {"index.md", "CHANGELOG.md", "CONTRIBUTING.md"}
    assert {p for p in places if not p.startswith("reference/")} == expected


@pytest.fixture(scope="module")
def assembled(tmp_path_factory):
    """The pages that the builder of the site gets, and the module that lays them out."""
    spec = spec_from_file_location("assemble", ROOT / "site" / "assemble.py")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    out = tmp_path_factory.mktemp("pages")
    module.assemble(out)
    return module, out


def test_every_link_of_the_site_leads_to_one_of_its_pages(assembled):
    _, out = assembled
    for page in out.rglob("*.md"):
        text = re.sub(r"^```.*?^```$|`[^`\n]+`", "", page.read_text("utf-8"), flags=re.M | re.S)
        for link in re.findall(r"\]\(([^)\s]+)\)", text):
            if not link.startswith(("https://", "#")):
                assert (page.parent / link.partition("#")[0]).exists(), (page, link)


def test_the_reference_has_the_public_names(assembled):
    _, out = assembled
    text = "".join(page.read_text("utf-8") for page in (out / "reference").glob("*.md"))
    entries = set(re.findall(r"^::: (\S+)$", text, re.M))
    for name in caudal.__all__:
        value = getattr(caudal, name)
        if inspect.isclass(value) or inspect.isfunction(value):
            assert f"{value.__module__}.{value.__qualname__}" in entries, name
    assert set(listed(SITE["nav"])) >= {
        f"reference/{p.name}" for p in (out / "reference").glob("*")
    }


def test_formulas_get_the_space_that_mathml_lacks(assembled):
    module, _ = assembled
    assert module.formulas(r"$\log p(x)$ and `$\log p$`") == r"$\log\,p(x)$ and `$\log p$`"
    assert module.formulas(r"$\log\left(x\right) + \exp(y)$") == r"$\log\left(x\right) + \exp(y)$"


def test_results_and_pages_name_no_place_of_one_machine():
    pages = [*(ROOT / "benchmarks" / "results").iterdir(), *(ROOT / "docs").rglob("*.md")]
    found = {
        page.name: re.findall(r"(?:/tmp|/home|/work|/root)/\S*", page.read_text("utf-8"))
        for page in pages
        if page.suffix in (".md", ".json", ".jsonl")
    }
    assert {name: places for name, places in found.items() if places} == {}


def scores(text, width):
    """The numbers of a Markdown table of so many columns, by the name of the row."""
    table = {}
    for line in text.splitlines():
        cells = [cell.strip(" *") for cell in line.strip("|").split("|")]
        if len(cells) == width and cells[1] in ("nats", "bits/dim"):
            table[cells[0].replace("_", " ")] = [
                cell.replace("*", "").replace("−", "-").split(" ±")[0].strip(" †–")
                for cell in cells[2:]
            ]
    return table


def test_the_table_of_the_readme_is_that_of_the_benchmark():
    results = (ROOT / "benchmarks" / "results" / "equal_time.md").read_text("utf-8")
    measured = scores(results.partition("## 60 seconds")[2].partition("\n## ")[0], 11)
    shown = scores((ROOT / "README.md").read_text("utf-8"), 8)
    assert shown.keys() == measured.keys()
    for name, row in measured.items():
        *libraries, gaussian, copula = row[:7]
        assert shown[name] == [*libraries, copula or gaussian], name


def test_the_lecture_has_the_numbers_that_were_measured():
    found = json.loads((ROOT / "benchmarks" / "results" / "lecture.json").read_text("utf-8"))
    images = [part["found"] for part in found.values() if "bits" in part["found"]]
    assert images
    for page in ("lecture.md", "es/clase.md"):
        text = (ROOT / "docs" / page).read_text("utf-8")
        for told in images:
            assert f"{told['bits']:.3f} ± {told['two_se']:.3f}" in text
            assert f"{told['baseline']:.3f}" in text
