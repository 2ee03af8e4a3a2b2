"""The house keeps its own rules: who imports whom, and pages that say what the code does."""

import ast
import inspect
import re
import shlex
import sys
from contextlib import redirect_stdout
from dataclasses import MISSING, fields
from importlib import import_module
from io import StringIO
from itertools import pairwise
from pathlib import Path

import pytest

import caudal
from caudal.cli import demo, distill, explore, export, hub, recipes, train, using
from caudal.cli.entry import COMMANDS
from caudal.cli.words import parse
from caudal.errors import InputError
from caudal.modality import MODALITIES, modality
from caudal.recipes import RECIPES

ROOT = Path(__file__).parent.parent
BUILT_IN = [name for name in RECIPES if RECIPES[name].__module__.startswith("caudal.")]
SOURCE = ROOT / "src" / "caudal"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]

# --- imports go downward only ----------------------------------------------------------------

LAYERS = (
    ("__init__", "__main__", "cli"),
    ("sbi", "sklearn"),
    ("model",),
    ("explore",),
    ("modalities",),
    ("report",),
    ("training",),
    ("modality",),
    ("data", "recipes"),
    (
        "annealing",
        "conditionals",
        "conversion",
        "correction",
        "denoising",
        "guided",
        "initialization",
        "interpolation",
        "losses",
        "streaming",
        "testing",
        "univariate",
    ),
    ("conditioning",),
    ("flow",),
    ("broadcasting", "dequantization"),
    ("base", "bijections", "nets"),
    ("bijection", "elementwise"),
    ("numerics", "targets"),
    ("errors", "fields", "files", "names", "scope", "version", "weights"),
)
"""From top to bottom. A room imports itself and the layers below it, never its neighbours."""
DEPTH = {room: depth for depth, layer in enumerate(LAYERS) for room in layer}
ONE_ROOM = {
    "distribution": "flow",  # a view of the flow that the flow itself hands out
}
DOORS = {("cli", "__init__"), ("__init__", "cli"), ("__main__", "cli")}
NEIGHBOURS = DOORS | {
    ("fields", "errors"),
    ("files", "errors"),
    ("recipes", "__init__"),
}  # whose use of it is looked at
MODELS = {"recipes", *(room for layer in LAYERS[9:] for room in layer)} - {"errors", "files"}
OWN = {
    "bijections": {"torch", "numpy"},
    "fields": {"annotated_types"},
    "nets": {"torch", "numba"},
    "numerics": {"torch", "numpy", "numba"},
    "recipes": {"torch", "annotated_types"},
}
"""Where it is not torch alone."""
STANDARD = sys.stdlib_module_names
WORLDLY = {"io", "json", "logging", "os", "pathlib", "shutil", "subprocess", "sys", "tempfile"}


def imports(source):
    """The absolute names of the modules that a source imports, or uses as `caudal.name`."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                yield "." * node.level
            elif node.module == "caudal":
                yield from (f"caudal.{alias.name}" for alias in node.names)
            else:
                yield node.module
        elif isinstance(node, ast.Attribute) and getattr(node.value, "id", "") == "caudal":
            yield getattr(getattr(caudal, node.attr, None), "__module__", f"caudal.{node.attr}")


def room_of(name):
    """The room of a module of caudal: `caudal.data.schema` is in `data`."""
    room = name.split(".")[1] if "." in name else "__init__"
    room = ONE_ROOM.get(room, room)
    return room if room in DEPTH else "__init__"  # `from caudal import Flow`


def complaints(room, source):
    """What a source in a room imports and should not."""
    found = []
    for name in imports(source):
        first = name.split(".")[0]
        if first == "":
            found.append(f"{room}: a relative import")
        elif first == "caudal":
            to = room_of(name)
            if to != room and DEPTH[to] <= DEPTH[room] and (room, to) not in NEIGHBOURS:
                found.append(f"{room} imports {to} ({name})")
            if room == "nets" and to not in ("nets", "numerics"):
                found.append(f"nets imports {to}: of caudal it should import numerics alone")
            if room in MODELS and to == "files":
                found.append(f"{room} imports files: models know nothing of them")
        elif room in MODELS and first in WORLDLY:
            found.append(f"{room} imports {name}: models know no files or screens")
        elif room in MODELS and first not in {*OWN.get(room, {"torch"}), *STANDARD}:
            found.append(f"{room} imports {name}: models know torch alone")
    return found


def test_imports_go_downward():
    found = {}
    for path in SOURCE.rglob("*.py"):
        parts = path.relative_to(SOURCE).with_suffix("").parts
        room = ONE_ROOM.get(parts[0], parts[0])
        assert room in DEPTH, f"{room} is a new room: give it a layer in this test and in docs"
        found[str(path)] = complaints(room, path.read_text("utf-8"))
    assert len(found) > 100
    assert {path: lines for path, lines in found.items() if lines} == {}


def test_the_design_page_has_the_same_layers():
    text = (ROOT / "docs" / "design.md").read_text("utf-8")
    rows = "\n".join(" · ".join(layer) for layer in LAYERS[1:])
    assert f"cli\n{rows}\n```" in text


@pytest.mark.parametrize(
    ("room", "source"),
    [
        ("nets", "from caudal.bijections import Coupling"),
        ("nets", "from caudal.errors import InputError"),
        ("bijections", "from caudal.nets import MADE"),
        ("bijections", "def f():\n    from caudal.nets.mlp import MLP"),
        ("flow", "import caudal.training.fit"),
        ("flow", "from caudal import recipes"),
        ("flow", "from caudal import Flow"),
        ("recipes", "from caudal.data import TableSchema"),
        ("recipes", "import caudal\ncaudal.data.Schema"),
        ("recipes", "import caudal\ncaudal.fit(flow, x)"),
        ("flow", "import caudal\ncaudal.nets.MLP"),
        ("data", "from caudal.recipes import RECIPES"),
        ("recipes", "import pathlib"),
        ("elementwise", "import numpy as np"),
        ("losses", "from caudal import files"),
        ("training", "from caudal.report import compare"),
        ("report", "from caudal.cli import main"),
        ("report", "from caudal.modalities.table import Table"),
        ("training", "import caudal.modalities.images"),
        ("modality", "from caudal.modalities.audio import Audio"),
        ("modalities", "from caudal.model import Model"),
        ("model", "from caudal.cli.screen import Screen"),
        ("data", "from . import schema"),
        ("nets", "if TYPE_CHECKING:\n    from caudal.flow import Flow"),
    ],
)
def test_the_checker_finds(room, source):
    assert complaints(room, source) != []


def test_the_checker_lets_be_what_is_right():
    good = "import math\nfrom torch import nn\nfrom caudal.bijection import Bijection\n"
    assert complaints("bijections", good) == []
    assert complaints("cli", "import os\nfrom caudal.report import compare\nimport tyro") == []
    assert complaints("nets", "from caudal.nets.causal import CausalNet") == []
    assert complaints("recipes", "import caudal\ncaudal.Flow(caudal.nets.MADE(2))") == []


# --- only a modality knows which kind of data it is -------------------------------------------

MODALITY_NAMES = {"table", "tables", "image", "images", "audio", "sound"}
ON_SCREEN = {"table", "tables", "rich.table", "as_table"}
"""Names of what is printed in rows and columns."""
BLIND = ("training", "cli", "explore")
"""Rooms that ask `modality_of(schema)`, and never which kind of data they have."""


def spoken(node):
    """The names in a node of a syntax tree, in snake case, and its text."""
    match node:
        case ast.Name(id=name) | ast.arg(arg=name) | ast.Attribute(attr=name):
            yield name
        case ast.FunctionDef(name=name) | ast.alias(name=name):
            yield name
        case ast.ImportFrom(module=str(name)) | ast.keyword(arg=str(name)):
            yield name
        case ast.Constant(value=str(text)) if text in MODALITY_NAMES:
            yield f"'{text}'"


def asks_for_the_kind(source):
    """Where a source asks for a schema's type, or names a modality."""
    tree = ast.parse(source)
    prose = {id(node.value) for node in ast.walk(tree) if is_text(node)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "isinstance":
            kinds = {n.id for n in ast.walk(node.args[1]) if isinstance(n, ast.Name)}
            if any(kind.endswith("Schema") for kind in kinds):
                yield f"line {node.lineno}: {ast.unparse(node)}"
        if id(node) not in prose:
            for name in spoken(node):
                if name not in ON_SCREEN and MODALITY_NAMES & set(re.split(r"[._']", name)):
                    yield f"line {getattr(node, 'lineno', '?')}: {name}"


@pytest.mark.parametrize("room", BLIND)
def test_nobody_asks_for_the_kind_of_data(room):
    complaints = {
        str(path.relative_to(SOURCE)): list(asks_for_the_kind(path.read_text("utf-8")))
        for path in sorted((SOURCE / room).rglob("*.py"))
    }
    assert {path: lines for path, lines in complaints.items() if lines} == {}


@pytest.mark.parametrize(
    "source",
    [
        "if isinstance(schema, ImageSchema): pass",
        "isinstance(run.schema, Schema | AudioSchema)",
        "if recipe.audio: pass",
        "if schema.kind == 'images': pass",
        "if schema.kind == 'table': pass",
        "open_table(path)",
        "def open_images(path): pass",
        "from caudal.modalities.audio import Audio",
        "from caudal.data import open_images",
        "fit(images=True)",
    ],
)
def test_the_checker_finds_who_asks(source):
    assert list(asks_for_the_kind(source)) != []


def test_the_checker_lets_prose_be():
    good = 'def f(x):\n    """images"""\n    screen.table([], [])\n'
    good += '    return AudioDistillation(x), "images of 3 pixels"'
    assert list(asks_for_the_kind(good)) == []


# --- every recipe has its page ---------------------------------------------------------------


def page_of(name):
    return ROOT / "docs" / "papers" / f"{name}.md"


def test_pages_and_recipes_mirror_each_other():
    assert {path.stem for path in (ROOT / "docs" / "papers").glob("*.md")} == set(BUILT_IN)


@pytest.mark.parametrize("name", BUILT_IN)
def test_a_page_names_fields_defaults_and_command(name):
    text = page_of(name).read_text("utf-8")
    for field in fields(RECIPES[name]):
        default = f'"{field.default}"' if isinstance(field.default, str) else field.default
        assert field.default is not MISSING
        assert f"| `{field.name}` | `{default}` |" in text, field.name
    data = "torus" if RECIPES[name].circular else "digits"
    trained = "wavenet --data vowels" if RECIPES[name].audio else f"{name} --data {data}"
    assert f"caudal train {trained}" in text
    assert RECIPES[name].paper.split("arXiv:")[1] in text
    readme = (ROOT / "README.md").read_text("utf-8")
    assert f"(docs/papers/{name}.md)" in readme
    assert f"| {RECIPES[name].year} |" in readme


@pytest.mark.parametrize("name", BUILT_IN)
def test_a_recipe_says_what_it_is(name):
    recipe = RECIPES[name]
    assert "Reference: " in recipe.__doc__
    assert "arXiv:" in recipe.__doc__
    assert {recipe.scores, recipe.samples} <= {"parallel", "sequential", "iterated"}
    assert recipe.good_for
    # Each field's docstring is the help of its flag.
    kinds = [kind for kind in recipe.__mro__ if kind.__module__.startswith("caudal.recipes")]
    assert {field.name for field in fields(recipe)} <= set().union(*map(described, kinds))


def described(kind):
    """The fields of a class that have a docstring under them."""
    tree = ast.parse(inspect.getsource(kind))
    pairs = pairwise(tree.body[0].body)
    return {a.target.id for a, b in pairs if isinstance(a, ast.AnnAssign) and is_text(b)}


def is_text(node):
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


# --- pages: links, commands, code ------------------------------------------------------------

FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.M | re.S)
LINK = re.compile(r"\]\(([^)\s]+)\)")


def blocks(path, *languages):
    """The fenced blocks of a page in one of the languages."""
    return [body for kind, body in FENCE.findall(path.read_text("utf-8")) if kind in languages]


def anchors(path):
    """What a link can point to within a page, as GitHub names it."""
    heads = re.findall(r"^#+ (.+)$", FENCE.sub("", path.read_text("utf-8")), re.M)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


LINKED = [*PAGES, ROOT / "CHANGELOG.md", *sorted((ROOT / "benchmarks" / "results").glob("*.md"))]


@pytest.mark.parametrize("page", LINKED, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_resolve(page):
    for link in LINK.findall(FENCE.sub("", page.read_text("utf-8"))):
        if link.startswith(("https://", "http://", "mailto:")):
            continue
        target, _, anchor = link.partition("#")
        path = (page.parent / target).resolve() if target else page
        assert path.exists(), link
        assert path.is_relative_to(ROOT), link
        if anchor:
            assert anchor in anchors(path), link


NAMED = re.compile(r"\[([^\]]*)\]\(([^)#]*\.py)\)")


@pytest.mark.parametrize("page", LINKED, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_to_sources_name_what_is_there(page):
    for text, link in NAMED.findall(page.read_text("utf-8")):
        source = (page.parent / link).read_text("utf-8")
        for name in re.findall(r"`(\w+)`", text):
            assert re.search(rf"^(class|def) {name}\b|^{name} = ", source, re.M), (name, link)


def promises():
    """Each test that docs/reliability.md names, as its file and its function."""
    for line in (ROOT / "docs" / "reliability.md").read_text("utf-8").splitlines():
        for file, names in re.findall(r"`(test_\w+\.py)`: (.*?)(?=\. `test_| \|$)", line):
            for name in names.split("; "):
                yield file, "test_" + name.replace(" ", "_")


def test_each_promise_is_shown_by_a_test_that_is_there():
    rows = (ROOT / "docs" / "reliability.md").read_text("utf-8").count("\n| ") - 5
    named = list(promises())
    assert len(named) >= rows
    for file, function in named:
        source = (ROOT / "tests" / file).read_text("utf-8")
        assert f"\ndef {function}(" in source, f"{file} has no {function}"


def command_lines(page):
    """The lines that start with `caudal` or `$ caudal`, with their continuations."""
    for body in blocks(page, "console", "sh"):
        for line in body.replace("\\\n", " ").splitlines():
            line = line.removeprefix("$ ")
            if line.startswith("caudal "):
                yield line.split(" | ")[0].split(" > ")[0]


PARTS = {
    "eval": (using.EvalOptions, "reading"),
    "score": (using.ScoreOptions, "reading"),
    "predict": (using.PredictOptions, "reading"),
    "sample": (using.SampleOptions, "drawing"),
    "impute": (using.ImputeOptions, "filling"),
    "interpolate": (using.InterpolateOptions, "reading"),
}
"""The options of the commands that use a run, and the part of them that its modality has."""
ALONE = {
    "explore": explore.ExploreOptions,
    "recipes": recipes.RecipesOptions,
    "demo": demo.DemoOptions,
    "export": export.ExportOptions,
    "push": hub.PushOptions,
    "pull": hub.PullOptions,
}
WRITTEN = sorted({line for page in PAGES for line in command_lines(page)})


def readings(name, words):
    """The ways to read the words of a command, one of which must do: there is no run to ask."""
    if name == "train":
        if "--config" not in words and "--data" in words:  # else its options are in a file
            yield lambda: train.read_options(words)
    elif name == "distill":
        students = words[words.index("--student") + 1 :][:1] if "--student" in words else ()
        for student in students or ("iaf", "parallel-wavenet"):
            yield lambda student=student: distill.parse_alone(words, student)
    elif name in ALONE:
        yield lambda: parse(ALONE[name], words, f"caudal {name}")
    else:
        of, part = PARTS[name]
        for each in MODALITIES:
            kind = of[getattr(modality(each), part)]
            yield lambda kind=kind: parse(kind, words, f"caudal {name}")


@pytest.mark.parametrize("line", WRITTEN)
def test_a_command_line_in_a_page_is_one(line):
    name, *words = shlex.split(line, comments=True)[1:]
    if name.startswith("--") or "--help" in words:
        assert name in (*COMMANDS, "--help", "--version")
        return
    faults = []
    for read in readings(name, words):
        try:
            read()
        except InputError as error:
            faults.append(str(error))
        else:
            return
    assert not faults


def test_pages_have_command_lines_of_every_command():
    assert {shlex.split(line)[1] for line in WRITTEN} >= set(COMMANDS)


TRANSLATED = {ROOT / "docs" / "es" / "clase.md": ROOT / "docs" / "lecture.md"}
WITH_PYTHON = [page for page in PAGES if blocks(page, "python") and page not in TRANSLATED]


@pytest.mark.parametrize("page", WITH_PYTHON, ids=lambda p: str(p.relative_to(ROOT)))
@pytest.mark.usefixtures(
    "one_thread", "registry", "timed_once", "few_rows", "few_vowels", "few_steps", "few_draws"
)
def test_python_in_a_page_runs(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code = "\n".join(blocks(page, "python"))
    names, shown = {"__name__": "__page__"}, 0
    for statement in ast.parse(code).body:
        value = None
        if isinstance(statement, ast.Expr):
            with redirect_stdout(StringIO()) as printed:
                value = eval(compile(ast.Expression(statement.value), str(page), "eval"), names)
        else:
            exec(compile(ast.Module([statement], []), str(page), "exec"), names)
        if isinstance(statement, ast.Assign):
            value = names.get(ast.unparse(statement.targets[0]))
        output = OUTPUT.search(code.splitlines()[statement.end_lineno - 1])
        if output and value is None and not output[1].startswith("("):
            continue  # a page that is quoted, not an output
        if output:
            shown += 1
            shape = getattr(value, "shape", getattr(value, "batch_shape", None))
            found = value if shape is None else tuple(shape)
            if value is None:
                assert printed.getvalue().strip().endswith(output[1]), output[0]
            else:
                assert found == ast.literal_eval(output[1]), output[0]
    assert shown >= (15 if page.name == "python.md" else 0)


OUTPUT = re.compile(r'  # (?:[^()"]*[ ,])?(\((?:\d+, ?)*\d*\)|"[^"]*")$')
"""A comment that ends with what its line gives: the shape of a tensor, or a text."""


def told(page):
    """What a page runs and shows, without its words."""
    tree = ast.parse("\n".join(blocks(page, "python")))
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and ast.get_docstring(node):
            node.body = node.body[1:]
    text = page.read_text("utf-8")
    formulas = re.findall(r"^\$\$ (.*) \$\$$", text, re.M)
    pictures = [Path(name).name for name in re.findall(r"!\[[^\]]*\]\((\S+)\)", text)]
    heads = re.findall(r"^#+ (?=.)", FENCE.sub("", text), re.M)
    return ast.unparse(tree), blocks(page, "sh", "console"), formulas, pictures, heads


@pytest.mark.parametrize("page", TRANSLATED, ids=lambda p: p.stem)
def test_a_translated_page_has_the_code_and_the_formulas_of_its_original(page):
    assert told(page) == told(TRANSLATED[page])


# --- versions and public names ---------------------------------------------------------------


def test_the_changelog_tells_of_this_version():
    text = (ROOT / "CHANGELOG.md").read_text("utf-8")
    top = re.search(r"^## \[(\d[^\]]*)\]", text, re.M)
    assert top is not None
    assert top[1] == caudal.__version__
    cited = re.search(r"^version: (\S+)$", (ROOT / "CITATION.cff").read_text("utf-8"), re.M)
    assert cited is not None
    assert cited[1] == caudal.__version__


PACKAGES = ("caudal", "caudal.bijections", "caudal.elementwise", "caudal.nets", "caudal.recipes")


@pytest.mark.parametrize("package", PACKAGES)
def test_public_names_are_documented(package):
    module = import_module(package)
    values = {name: getattr(module, name) for name in module.__all__}
    bare = [name for name, value in values.items() if not (value.__doc__ or "").strip()]
    assert [name for name in bare if not isinstance(values[name], dict)] == []


def test_public_functions_are_annotated():
    for name in ("fit", "load", "initialize", "calibrate"):
        function = getattr(caudal, name)
        assert "return" in function.__annotations__
