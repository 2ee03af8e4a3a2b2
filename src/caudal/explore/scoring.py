"""The tab that scores a visitor's own items, beside those of the test part."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from caudal.data import as_table
from caudal.data.temporal import as_text, is_modelled
from caudal.errors import InputError
from caudal.explore.controls import Cells, Control, Recording, Tab, Upload, Whole
from caudal.explore.subject import Subject
from caudal.report.distilled import ScreenTable
from caudal.report.guide import Side
from caudal.report.numbers import a, number
from caudal.report.page import Block, draw_one
from caudal.report.style import DATA, SAMPLES, WIDTH, new_figure, shorten

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHOWN, LISTED, BLAMED = 8, 10, 8  # items that are shown, scores in a table, and columns
CELL = 18  # characters
INTRO = (
    "How likely is {what}? log p is in nats and higher is likelier; it says most beside others, "
    "so its place among the {many} of the test part is shown."
)


def scoring(subject: Subject) -> Tab | None:
    """Scores a typed row, or the items of a file or a recording."""
    if subject.model.is_slow_to_score:
        return None
    guide, schema = subject.guide, subject.schema
    controls: list[Control] = []
    if subject.has_items and not guide.typed:
        controls.append(Whole("number", f"A test {schema.one}", 1, 1, len(subject.items)))
    elif subject.has_items:
        head, row = _first_row(subject)
        help = "One to begin with: change a value, and see"
        controls.append(Cells("typed", f"A {schema.one}", head, row, help=help))
    controls.append(
        Upload("file", f"Or a file of {schema.many}" if controls else "A file", guide.suffixes)
    )
    if guide.recorded:
        controls.append(Recording("recording", "Or a recording"))

    def act(**values: Any) -> list[Block]:
        if (data := _chosen(controls, values)) is not None:
            return _scored(subject, data)
        if values.get("number") is None:
            raise InputError("choose a file first")
        return _known(subject, int(values["number"]))

    intro = INTRO.format(what=f"{a(schema.one)} of your own", many=schema.many)
    return Tab("Score your own", intro, controls, act, "Score", eager=subject.has_items)


def _first_row(subject: Subject) -> tuple[list[str], list[str]]:
    """The headings and the cells of the first test row, as texts."""
    table = as_table(subject.form(*subject.items[0]))
    wanted = [n for n in table.column_names if n in subject.schema.names]
    return wanted, [_text(table[name].slice(0, 1)) for name in wanted]


def _text(cell: pa.ChunkedArray) -> str:
    """A value with all of its digits, as a rounded one may be none that the column has."""
    (value,) = (as_text(cell) if is_modelled(cell.type) else cell).to_pylist()
    return "" if value is None else str(value)


def _chosen(controls: Sequence[Control], values: Mapping[str, Any]) -> Any:
    """What was uploaded or recorded, else the cells that were typed; None without any."""
    for name in ("recording", "file"):
        if values.get(name):
            return values[name]
    cells = next((c for c in controls if isinstance(c, Cells)), None)
    if cells is None or not values.get("typed"):
        return None
    texts = [str(value).strip() for value in values["typed"]]
    if len(texts) != len(cells.head):  # a file that is dropped on the cells takes their place
        raise InputError(
            f"the row has {len(texts)} cells, and {len(cells.head)} columns are wanted: "
            f"{', '.join(cells.head[:5])} ...; give a file of rows in the field below"
        )
    return pa.table({name: [text or None] for name, text in zip(cells.head, texts, strict=True)})


def _known(subject: Subject, number: int) -> list[Block]:
    """The score of a test item, and its place among the others."""
    x, context = subject.item(number)
    scores = subject.scores[number - 1 : number]
    side = Side(f"test {subject.schema.one} {number}", subject.form(x, context), "data")
    shown = subject.guide.show(subject.schema, [side], subject.ground)
    place = draw_one("place", lambda: _draw_place(subject, scores, side.title))
    return [_sentence(subject, scores), *shown, place]


def _scored(subject: Subject, data: Any) -> list[Block]:
    """The scores of the items of `data`, their place, and why the least likely is so."""
    model = subject.model
    scores = np.asarray(model.log_prob(data), float)
    shown = _shown(subject, data)
    blocks: list[Block] = [_sentence(subject, scores), *shown]
    if subject.has_items and np.isfinite(scores).any():
        blocks.append(draw_one("place", lambda: _draw_place(subject, scores)))
    if len(scores) > 1:
        blocks.append(_list(subject, scores))
    if model.kind.explainer is not None and np.isfinite(scores).any():
        blocks.append(_blame(model.explain(data, n=1), len(scores)))
    return blocks


def _shown(subject: Subject, data: Any) -> list[Block]:
    """The first items as the flow takes them."""
    piece = next(iter(subject.model.open_all(data, {}).pieces()))
    x, context = piece.batch
    some = slice(0, SHOWN)
    items = subject.form(x[some], None if context is None else context[some])
    return subject.guide.show(subject.schema, [Side("yours", items)], subject.ground)


def _sentence(subject: Subject, scores: np.ndarray) -> str:
    """The score in words: of one item with its place, of many their mean."""
    model, schema = subject.model, subject.schema
    finite = scores[np.isfinite(scores)]
    if not len(finite):
        what = f"The {schema.one} has" if len(scores) == 1 else f"None of the {schema.many} has"
        no = "no" if len(scores) == 1 else "a"
        return f"{what} {no} finite log p: {_IMPOSSIBLE}."
    if len(scores) > 1:
        return _sentence_of_many(subject, scores)
    value = float(finite[0])
    text = f"log p = {number(value, 2)} nats ({model.flow.kind})"
    if not subject.has_items:
        return f"{text}."
    below = _place(subject, value)
    return (
        f"{text}: likelier than {below:.1%} of {len(subject.scores):,} test {schema.many}"
        f"{_alarm(subject, value)}."
    )


_IMPOSSIBLE = "a value is missing, or is none that its column can have"


def _sentence_of_many(subject: Subject, scores: np.ndarray) -> str:
    """The mean of scores that are finite, the least of them, and how many are not."""
    many, is_finite = subject.schema.many, np.isfinite(scores)
    lowest = int(np.where(is_finite, scores, np.inf).argmin())
    lost = int((~is_finite).sum())
    rest = f"; {lost:,} have no finite one: {_IMPOSSIBLE}" if lost else ""
    return (
        f"{len(scores):,} {many}: log p {number(float(scores[is_finite].mean()), 2)} nats on "
        f"average ({subject.model.flow.kind}); the least likely is number {lowest + 1}, "
        f"{number(float(scores[lowest]), 2)} nats{rest}."
    )


def _place(subject: Subject, value: float) -> float:
    """The share of test items that are less likely."""
    return float((subject.scores < value).mean())


def _alarm(subject: Subject, value: float) -> str:
    """Whether a row is unusual by the threshold of alarms of the run."""
    threshold = subject.model.threshold()
    if threshold is None or value >= threshold.log_prob:
        return ""
    return f", and so low that only {threshold.rate:.1%} of such {subject.schema.many} are"


def _draw_place(subject: Subject, scores: np.ndarray, name: str = "yours") -> "Figure":
    """A histogram of the scores of test items, and a line for each of the user's own."""
    test = subject.scores[np.isfinite(subject.scores)]
    own = scores[np.isfinite(scores)][:LISTED]
    low, high = np.quantile(test, [0.002, 1.0])
    spread = max(float(high - low), 1e-6)
    low = min(low, max(float(own.min()), low - spread))
    figure = new_figure(WIDTH / 1.7, 2.6)
    axes = figure.subplots()
    axes.hist(test.clip(low, high), bins=40, range=(low, high), color=DATA, alpha=0.55)
    for value in own:
        axes.axvline(max(value, low), color=SAMPLES, linewidth=2)
    axes.set_xlabel("log p in nats")
    axes.set_ylabel(f"test {subject.schema.many}")
    outside = ", off to the left" if own.min() < low else ""
    axes.set_title(f"{name}{outside}", color=SAMPLES, loc="right")
    axes.locator_params(axis="y", integer=True)
    return figure


def _list(subject: Subject, scores: np.ndarray) -> ScreenTable:
    """The least likely of several items."""
    order = np.argsort(np.where(np.isnan(scores), math.inf, scores))[:LISTED]
    rows = []
    for index in order:
        value = float(scores[index])
        place = f"{_place(subject, value):.1%}" if subject.has_items else ""
        rows.append([str(index + 1), number(value, 2), place])
    head = [
        subject.schema.one,
        "log p in nats",
        f"likelier than so many test {subject.schema.many}",
    ]
    return ScreenTable("The least likely", head, rows, "nnn")


def _blame(explained: Any, n: int) -> ScreenTable:
    """The columns of the least likely of n rows, the most surprising first."""
    lines = as_table(explained).to_pylist()[:BLAMED]
    rows = []
    for line in lines:
        between = f"{_short(line['low'])} to {_short(line['high'])}" if line["low"] else ""
        value = "missing" if line["value"] is None else line["value"]
        surprise = number(line["surprise"], 1)
        rows.append([line["column"], _short(value), _short(line["expected"]), between, surprise])
    head = ["column", "value", "expected", "5 % to 95 %", "surprise in nats"]
    which = "Its columns" if n == 1 else "Columns of the least likely row"
    title = f"{which}, each given the others: by how much its value is less likely than usual"
    return ScreenTable(title, head, rows, "    n")


def _short(text: str | None) -> str:
    return shorten(text or "", CELL)
