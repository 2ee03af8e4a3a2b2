"""`caudal recipes`: lists the flows. It is quick, as it imports neither torch nor a parser."""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from shutil import get_terminal_size
from textwrap import wrap

from caudal.cli.narrow import NARROW, stacked
from caudal.errors import InputError
from caudal.recipes import RECIPES, Recipe, find_recipe
from caudal.recipes.presets import PRESETS

FACTS = ("year", "scores", "samples", "good_for", "paper")
WAYS = {
    "parallel": "one pass",
    "sequential": "one {element} at a time",
    "iterated": "iterated passes",
}
WIDTH, NARROWEST = 120, 24  # of a table where there is no terminal to ask; of its last column


@dataclass(frozen=True)
class RecipesOptions:
    """Lists the flows, with their papers, and which of their directions is fast."""

    json: bool = False
    """Print the list as one JSON object on standard output."""


def run(words: list[str]) -> int:
    """Runs the command."""
    as_json = words == ["--json"]
    if words and not as_json:
        from caudal.cli.words import parse

        as_json = parse(RecipesOptions, words, "caudal recipes").json
    known = {kind.name: kind for kind in _loaded()}
    if as_json:
        import json

        facts = {name: {fact: getattr(r, fact) for fact in FACTS} for name, r in known.items()}
        presets = {name: list(presets) for name, presets in PRESETS.items()}
        print(json.dumps({"recipes": facts, "presets": presets}, ensure_ascii=False))
        return 0
    head = ["recipe", "year", "density", "samples", "good for, and paper"]
    print(table(head, [_row(kind) for kind in known.values()], " n"))
    print("\nthe papers' configurations: caudal train RECIPE --preset NAME\n")
    head = ["recipe", "preset", "data", "parameters", "bits/dim\nin the paper", ""]
    print(table(head, list(_presets()), "   nn"))
    print("\ncaudal train RECIPE --help tells the options of each.")
    return 0


def way(recipe: Recipe | type[Recipe], how: str) -> str:
    """How a direction of a recipe runs, in words."""
    return WAYS[how].format(element=recipe.element)


def _loaded() -> Iterator[type[Recipe]]:
    """Every recipe; those that cannot be loaded are named on standard error."""
    for name in RECIPES:
        try:
            yield find_recipe(name)
        except InputError as error:
            print(f"caudal: note: {error}", file=sys.stderr)


def _row(kind: type[Recipe]) -> list[str]:
    ways = way(kind, kind.scores), way(kind, kind.samples)
    return [kind.name, str(kind.year or ""), *ways, f"{kind.good_for}\n{kind.paper}"]


def _presets() -> Iterator[list[str]]:
    for recipe, presets in PRESETS.items():
        for name, p in presets.items():
            bits = "" if p.bits_per_dim is None else f"{p.bits_per_dim:.2f}"
            yield [recipe, name, p.size, f"{p.parameters:,}", bits, p.note]


def table(head: Sequence[str], rows: Sequence[Sequence[str]], numbers: str = "") -> str:
    """A table as text, whose last column is wrapped to the width of the screen.

    On a narrow screen each row is a few lines.

    `numbers` has an "n" for each column that is set to the right.
    """
    width = get_terminal_size((WIDTH, 0)).columns
    if width < NARROW:
        return "\n".join(stacked(head, rows))
    cells = [[cell.splitlines() for cell in row] for row in (head, *rows)]
    widths = [max(map(len, sum(column, [""]))) for column in zip(*cells, strict=True)]
    taken = sum(widths[:-1]) + 3 * (len(widths) - 1)
    widths[-1] = min(widths[-1], max(NARROWEST, width - taken))
    signs = [">" if sign == "n" else "<" for sign in numbers.ljust(len(head))]
    lines = []
    for *others, last in cells:
        wrapped = [line for text in last for line in wrap(text, widths[-1])]
        for texts in zip_longest(*others, wrapped, fillvalue=""):
            padded = zip(texts, signs, widths, strict=True)
            lines.append("   ".join(f"{t:{sign}{width}}" for t, sign, width in padded).rstrip())
    lines.insert(max(map(len, cells[0])), "─" * (taken + widths[-1]))
    return "\n".join(lines)
