"""Lays out the pages of the site: the repository's Markdown, and a reference from its docstrings.

The pages keep the places they have in the repository, so that their links to each other hold. The
README is the first page; a link to a source file becomes one to its place in the reference.
"""

import inspect
import re
import shutil
import sys
from contextlib import suppress
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

from caudal.model import Model
from caudal.recipes import RECIPES

ROOT = Path(__file__).parent.parent
LINK = re.compile(r"\]\(([^)\s]+)\)")
FORMULA = re.compile(r"\$\$[^$]+\$\$|\$[^$\n]+\$")
FUNCTION = re.compile(
    r"\\(log|exp|det|max|min|cos|sin|tanh|ln)\b\s*(?=[A-Za-z0-9]|\\(?!,|left[(\[]|big|,))"
)
FENCE = re.compile(r"(^```.*?^```$)", re.M | re.S)
REFERENCE = {
    "model": ("The Model", "Data in, data out: what a run is in memory.", ("caudal.model",)),
    "training": (
        "Training and distillation",
        "From a flow and its data to a run.",
        (
            "caudal.training.options:Training",
            "caudal.training.run:Run",
            "caudal.training.student:distill",
            "caudal.training.sample_terms:Distillation",
            "caudal.training.clip_terms:AudioDistillation",
            "caudal.training.density_terms:Variational",
            "caudal.modality:assemble",
        ),
    ),
    "flow": (
        "Flows",
        "Tensors in, tensors out: a bijection and a base.",
        ("caudal.flow", "caudal.bijection", "caudal.distribution", "caudal.initialization"),
    ),
    "bijections": ("Bijections", "Invertible maps with their log-dets.", ("caudal.bijections",)),
    "elementwise": ("Elementwise maps", "Maps given their parameters.", ("caudal.elementwise",)),
    "nets": ("Nets", "Conditioners: tensors in, parameters out.", ("caudal.nets",)),
    "base": ("Bases", "Densities of the noise.", ("caudal.base",)),
    "recipes": (
        "Recipes",
        "One paper each: what builds a flow.",
        ("caudal.recipes", "caudal.recipes.registry:register"),
    ),
    "dequantization": ("Dequantisation", "Steps and gaps.", ("caudal.dequantization",)),
    "losses": ("Losses", "What training minimises.", ("caudal.losses",)),
    "densities": (
        "Densities",
        "Targets known up to a constant, annealing, importance weights and exact samples.",
        (
            "caudal.report.density:evaluate_density",
            "caudal.correction",
            "caudal.targets",
            "caudal.annealing",
            "caudal.weights",
        ),
    ),
    "neighbours": (
        "Neighbours",
        "scikit-learn, simulation-based inference, and flows of other libraries.",
        ("caudal.sklearn", "caudal.sbi", "caudal.recipes.converted:convert"),
    ),
    "testing": ("Testing", "The laws, for parts of your own.", ("caudal.testing",)),
    "numerics": ("Numerics", "Equations, determinants, noise.", ("caudal.numerics",)),
    "errors": ("Errors", "The two ways things go wrong.", ("caudal.errors",)),
}
"""The pages of the reference: title, a sentence, and the modules whose public names they have."""


def public(place: str) -> list[tuple[str, str]]:
    """The public classes and functions of a module, or the one that is named after a colon.

    Each is the name to show, and where it is defined.
    """
    module_name, _, one = place.partition(":")
    module = import_module(module_name)
    own = [n for n, v in vars(module).items() if getattr(v, "__module__", "") == module_name]
    public_own = [name for name in own if not name.startswith("_")]
    names = [one] if one else getattr(module, "__all__", public_own)
    values = {}
    for name in sorted(names, key=str.casefold):
        with suppress(ImportError):  # such as those of an extra that is not installed
            values[name] = getattr(module, name)
    return [
        (name, f"{value.__module__}.{value.__qualname__}")
        for name, value in values.items()
        if inspect.isclass(value) or inspect.isfunction(value)
    ]


def methods() -> list[tuple[str, str]]:
    """The methods of `Model`, which are functions of modules of their own."""
    return [
        (f"Model.{name}", f"{value.__module__}.{value.__qualname__}")
        for name, value in vars(Model).items()
        if inspect.isfunction(value)
        and value.__module__ != Model.__module__
        and name
        not in ("dataset_or", "open_all", "open_given", "options", "judge", "draw", "sweeping")
    ]


def reference(folder: Path) -> dict[str, str]:
    """Writes the pages of the reference; gives the page of each module that is on one."""
    pages, lines = {}, ["# Reference", "", "Public names, from their docstrings.", ""]
    for page, (title, sentence, modules) in REFERENCE.items():
        entries = [entry for module in modules for entry in public(module)]
        if page == "model":
            entries.sort(key=lambda entry: entry[0] != "Model")
            entries += methods()
        if page == "recipes":
            entries = [e for e in entries if e[1].rpartition(".")[2] not in RECIPES] + [
                (kind.__name__, f"{kind.__module__}.{kind.__qualname__}")
                for kind in RECIPES.values()
            ]
        text = [f"# {title}", "", sentence, ""]
        seen = set()
        for name, where in entries:
            if where not in seen:
                seen.add(where)
                options = [f'      {option}: "{name}"' for option in ("heading", "toc_label")]
                text += [f"::: {where}", "    options:", *options, ""]
                pages.setdefault(where.rpartition(".")[0], page)
        write(folder / f"{page}.md", "\n".join(text))
        lines.append(f"- [{title}]({page}.md): {sentence}")
    write(folder / "index.md", "\n".join(lines) + "\n")
    return pages


def notebook(path: Path, out: Path) -> str:
    """The page of a notebook: as it ran, if `make notebooks` has been, else its text and code."""
    ran = ROOT / "build" / "notebooks" / f"{path.stem}.md"
    if ran.exists():
        pictures = ran.with_name(f"{path.stem}_files")
        if pictures.exists():
            shutil.copytree(pictures, out / "notebooks" / pictures.name, dirs_exist_ok=True)
        text = re.sub(r"<style scoped>.*?</style>", "", ran.read_text("utf-8"), flags=re.S)
        return text.replace(
            '<table border="1" class="dataframe">', "<table>"
        )  # the site's own look
    parts = re.split(r"^# %%( \[markdown\])?\n", path.read_text("utf-8"), flags=re.M)[1:]
    pages = []
    for is_text, cell in zip(parts[::2], parts[1::2], strict=True):
        prose = re.sub(r"^# ?", "", cell.strip(), flags=re.M)
        pages.append(prose if is_text else f"```python\n{cell.strip()}\n```")
    return "\n\n".join(pages) + "\n"


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")


class Links:
    """Links of a page as they hold on the site."""

    def __init__(self, page: Path, modules: dict[str, str], there: set[Path]) -> None:
        self.page, self.modules, self.there = page, modules, there

    def rewrite(self, text: str) -> str:
        parts = FENCE.split(text)
        return "".join(p if p.startswith("```") else self._prose(p) for p in parts)

    def _prose(self, text: str) -> str:
        return re.sub(r"\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)\s]+)\)", self._link, text)

    def _link(self, match: re.Match[str]) -> str:
        words, link = match[1], match[2]
        if link.startswith(("https://", "http://", "mailto:", "#")):
            return match[0]
        target, _, anchor = link.partition("#")
        path = (self.page.parent / target).resolve().relative_to(ROOT)
        here = self.page.relative_to(ROOT).parent
        up = "../" * len(here.parts)
        if path == Path("README.md"):
            return f"[{words}]({up}index.md{'#' * bool(anchor)}{anchor})"
        if path.parts[0] == "src":
            module = ".".join(path.relative_to("src").with_suffix("").parts)
            page = self.modules.get(module)
            return f"[{words}]({up}reference/{page}.md)" if page else words
        return match[0] if path in self.there else words


def spaced(text: str) -> str:
    """Lists with the empty line before them that Python-Markdown needs, and GitHub does not."""
    parts = FENCE.split(text)
    return "".join(
        p
        if p.startswith("```")
        else re.sub(r"^((?![-*|>]|\d+\. | ).+)\n(?=(?:- |1\. ))", r"\1\n\n", p, flags=re.M)
        for p in parts
    )


def formulas(text: str) -> str:
    """Formulas with the thin space after log and the like, which TeX puts and MathML does not."""
    parts = re.split(r"(^```.*?^```$|`[^`\n]+`)", text, flags=re.M | re.S)
    return "".join(p if p.startswith("`") else FORMULA.sub(_spaced_out, p) for p in parts)


def _spaced_out(match: re.Match[str]) -> str:
    return FUNCTION.sub(r"\\\1\\,", match[0])


def fonts(folder: Path) -> None:
    """Puts the font of formulas beside the pages: STIX Two Math (SIL Open Font License)."""
    package = find_spec("ziamath")
    if package is None or package.origin is None:
        raise SystemExit(
            "the font of formulas is in the package ziamath: pip install -e '.[docs]'"
        )
    source = Path(package.origin).parent / "fonts" / "STIXTwoMath-Regular.ttf"
    shutil.copy(source, folder / "STIXTwoMath-Regular.ttf")


def assemble(out: Path) -> None:
    """Writes all pages and pictures into a folder."""
    shutil.rmtree(out, ignore_errors=True)
    modules = reference(out / "reference")
    pages = [
        *(ROOT / name for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md")),
        *(ROOT / "docs").rglob("*.md"),
        *(ROOT / "benchmarks" / "results").glob("*.md"),
    ]
    pictures = list((ROOT / "docs").rglob("*.png"))
    books = sorted((ROOT / "notebooks").glob("*.py"))
    drawn = (ROOT / "build" / "notebooks").glob("*_files/*.png")
    there = {path.relative_to(ROOT) for path in [*pages, *pictures]}
    there |= {Path("notebooks", path.parent.name, path.name) for path in drawn}
    for page in pages:
        place = page.relative_to(ROOT)
        text = Links(page, modules, there).rewrite(page.read_text("utf-8"))
        text = formulas(text)
        write(out / ("index.md" if place == Path("README.md") else place), spaced(text))
    for page in books:
        links = Links(page, modules, there)
        text = links.rewrite(notebook(page, out))
        write(out / page.relative_to(ROOT).with_suffix(".md"), formulas(spaced(text)))
    for path in [*pictures, *(ROOT / "site" / "assets").rglob("*.*")]:
        base = ROOT / "site" if path.is_relative_to(ROOT / "site") else ROOT
        target = out / path.relative_to(base)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)


if __name__ == "__main__":
    assemble(Path(sys.argv[1]))
    fonts(Path(sys.argv[1]) / "assets")
