"""What `caudal train` says before it trains: the columns, the rows, the flow."""

from caudal.cli.datasets import AnyDataset
from caudal.cli.screen import Screen
from caudal.data import Dataset, Summary
from caudal.flow import Flow
from caudal.recipes import Recipe
from caudal.report.numbers import span
from caudal.report.story import parameters

MOST = 24  # columns in the table
WAYS = {
    "parallel": "one pass",
    "sequential": "one column at a time",
    "iterated": "iterated passes",
}
GAUSSIAN_ALONE = ("made", "maf", "iaf")


def show_data(screen: Screen, data: Dataset) -> None:
    """A table of the columns, the rows of each part, and what to know of them."""
    screen.say(f"\n{data.name}")
    shown = list(data.summary)
    if len(shown) > MOST:
        shown = shown[: MOST // 2]
    head = ["column", "kind", "support", "step", "missing", "values", ""]
    screen.table(head, [_cells(s) for s in shown], "   nn")
    if len(shown) < len(data.summary):
        screen.say(f"... and {len(data.summary) - len(shown)} more columns\n")
    show_parts(screen, data, "rows")


def show_parts(screen: Screen, data: AnyDataset, rows: str) -> None:
    """How many rows each part has, and the notes on them."""
    parts = (("training", data.train), ("validation", data.valid), ("test", data.test))
    screen.say(", ".join(f"{source.n_rows:,} {name}" for name, source in parts) + f" {rows}")
    show_notes(screen, data)


def show_notes(screen: Screen, data: AnyDataset) -> None:
    """What to know of the data."""
    for note in data.notes:
        screen.warn(note)


def show_recipe(
    screen: Screen, recipe: Recipe, flow: Flow, data: AnyDataset, advise: bool = True
) -> None:
    """The flow, its size, which of its directions is fast, and what to beware of."""
    fields = ", ".join(f"{k}={v}" for k, v in vars(recipe).items())
    screen.say(f"\n{recipe.name} ({fields}): {parameters(flow):,} parameters")
    screen.say(f"density {way(recipe, recipe.scores)}, samples {way(recipe, recipe.samples)}")
    for warning in warnings(recipe, data) if advise else ():
        screen.warn(warning)
    screen.say()


def way(recipe: Recipe | type[Recipe], how: str) -> str:
    """How a direction of a recipe runs, in words."""
    return WAYS[how].replace("column", "sample") if recipe.audio else WAYS[how]


def warnings(recipe: Recipe, data: AnyDataset) -> list[str]:
    """What a user would want to know of this recipe on these data before training."""
    if data.schema.kind == "images":
        return image_warnings(recipe)
    if data.schema.kind == "audio":
        return []
    said = []
    if recipe.scores == "sequential" and len(data.schema.columns) > 1:
        said.append(
            f"{recipe.name} scores one column at a time, and so it trains by maximum likelihood; "
            f"maf does both in one pass"
        )
    if len(data.schema.columns) == 1 and recipe.name in GAUSSIAN_ALONE:
        said.append(
            f"of a single column {recipe.name} can only make a Gaussian, before the column's "
            f"support bends it: use nsf-ar or maf-mog"
        )
    return said


def image_warnings(recipe: Recipe) -> list[str]:
    """The same of a recipe on images."""
    if recipe.images or recipe.name == "nice":  # whose paper has images as vectors
        return []
    said = [
        f"{recipe.name} takes images as vectors, and does not know which pixels are neighbours; "
        f"glow, realnvp and others do (caudal recipes)"
    ]
    for way, what in ((recipe.scores, "density"), (recipe.samples, "samples")):
        if way == "sequential":
            said.append(f"{what} come pixel by pixel, which takes long where there are many")
    return said


def _cells(s: Summary) -> list[str]:
    how = s.source if s.role == "event" else f"{s.source}, context"
    step = "" if s.step is None else f"{s.step:g}"
    missing = f"{s.missing:.1%}" if s.missing else ""
    return [s.name, s.kind, s.support, step, missing, span(s), how]
