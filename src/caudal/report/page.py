"""The report of a run: what it tells, and the page that shows it."""

import base64
import io
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from caudal import files
from caudal.errors import as_flags
from caudal.flow import Flow
from caudal.recipes import Recipe
from caudal.report.baseline import baseline_type
from caudal.report.distilled import Distilled, ScreenTable
from caudal.report.evaluation import Evaluation
from caudal.report.numbers import parameters, short
from caudal.report.style import house_style
from caudal.training.progress import duration
from caudal.version import __version__

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Story:
    """One run, from its command to its samples.

    Attributes:
        name: of the run, its folder's.
        recipe: the one that built the flow.
        flow: as trained.
        dataset: the one that it was trained on.
        evaluation: on items that training has not seen; None where scoring takes too long.
        metrics: the lines of metrics.jsonl.
        command: the one that makes this run again; empty for one that was made in Python.
        config: the run's config.yaml.
        seconds: those that training took, or None if that is not known.
        seed: of training.
        folder: of the run, in which training may have left pictures; or None.
        distilled: for a student, how it compares to its teacher.
    """

    name: str
    recipe: Recipe
    flow: Flow
    dataset: Any
    evaluation: Evaluation | None
    metrics: Sequence[Mapping[str, Any]]
    command: str
    config: str
    seconds: float | None
    seed: int
    folder: Path | None = None
    distilled: Distilled | None = None


# --- the parts of a page -------------------------------------------------------------------------


class Picture(NamedTuple):
    """A picture with its place in the report.

    Attributes:
        name: of its file, without suffix.
        title: above it.
        caption: under the title: how to read it.
        png: the picture.
    """

    name: str
    title: str
    caption: str
    png: bytes

    @property
    def width(self) -> int:
        """In dots, as the header of the PNG file says."""
        return int.from_bytes(self.png[16:20], "big")


class Sound(NamedTuple):
    """A sound file to play in the page: its name, the name's colour, seconds, and FLAC bytes."""

    title: str
    colour: str
    seconds: float
    flac: bytes


class Beside(NamedTuple):
    """Tables side by side, each under its title; `colours` are "data" or "samples"."""

    tables: Sequence[ScreenTable]
    colours: Sequence[str]


Block = str | Picture | ScreenTable | Beside | Sequence[Sound]
"""A paragraph, a picture, tables, or players side by side."""


@dataclass(frozen=True)
class Section:
    """A headed part of the page.

    Attributes:
        title: its heading.
        caption: how to read it; may be empty.
        blocks: what is in it.
    """

    title: str
    caption: str
    blocks: Sequence[Block]


@dataclass(frozen=True)
class Contents:
    """What only one kind of data has to tell.

    Attributes:
        headline: what was modelled, and on how many items.
        sections: in their order on the page.
        pictures: those that are written to the folder `pictures`.
        notes: what the reader should know.
        files: other files to write beside the page, by their path in the folder.
    """

    headline: str
    sections: Sequence[Section]
    pictures: Sequence[Picture]
    notes: Sequence[str] = ()
    files: Mapping[str, bytes] = field(default_factory=dict)


class Teller(ABC):
    """Tells the story of a run on one kind of data."""

    many: ClassVar[str]

    @abstractmethod
    def tell(self, story: Story) -> Contents:
        """Draws the pictures, in `house_style`, and writes the captions."""

    def parts(self, story: Story) -> str:
        """How many items there are in the three parts; clips count whole, not by crops."""
        data = story.dataset
        sizes = (part.n_items for part in (data.train, data.valid, data.test))
        return "{:,} training, {:,} validation, {:,} test ".format(*sizes) + self.many


Drawn = tuple[str, str, str, "Figure"]
"""Name, title and caption of a picture, and the picture."""


def render(figures: Iterable[Drawn]) -> list[Picture]:
    """Pictures of figures that are drawn as they are asked for."""
    with house_style():
        return [
            Picture(name, title, caption, to_png(fig)) for name, title, caption, fig in figures
        ]


def draw_one(name: str, draw: "Callable[[], Figure]") -> Picture:
    """The picture of one figure, drawn in the house style."""
    with house_style():
        return Picture(name, name, "", to_png(draw()))


def picture_sections(pictures: Iterable[Picture]) -> Iterator[Section]:
    """Each picture in a section of its own."""
    return (Section(picture.title, picture.caption, [picture]) for picture in pictures)


def to_png(figure: "Figure") -> bytes:
    """The bytes of a PNG file."""
    buffer = io.BytesIO()
    # Without the version and the date, the same run gives the same bytes.
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def write_figure(path: Path, draw: "Callable[[], Figure]") -> None:
    """Draws a figure in the house style, and writes it in the format of its suffix, atomically."""
    kind = path.suffix[1:].casefold()
    metadata = {"Software": None} if kind == "png" else None
    with house_style(), files.atomic(path) as temporary:
        draw().savefig(temporary, format=kind, metadata=metadata)


# --- the page ------------------------------------------------------------------------------------


class Card(NamedTuple):
    """A headline number and what it is."""

    value: str
    label: str
    unit: str = ""


def write_report(folder: str | Path, story: Story, teller: Teller) -> Path:
    """Writes report.html, pictures/*.png and other files into the folder; returns the page."""
    folder, contents = Path(folder), teller.tell(story)
    pictures = {f"pictures/{p.name}.png": p.png for p in contents.pictures}
    for name, data in (pictures | dict(contents.files)).items():
        with files.atomic(folder / name) as temporary:
            temporary.write_bytes(data)
    path = folder / "report.html"
    files.write_text(path, _page(story, contents))
    return path


def _page(story: Story, contents: Contents) -> str:
    """The page, which needs nothing from outside."""
    return (
        _environment()
        .get_template("page.html")
        .render(
            story=story,
            contents=contents,
            cards=list(_cards(story)),
            notes=list(_notes(story, contents)),
            sections=[*_beside_teacher(story), *contents.sections],
            css=_resource("page.css"),
            version=__version__,
        )
    )


def blocks_html(blocks: Sequence[Block]) -> str:
    """Blocks as HTML, which needs nothing from outside, for a page that has a style of its own."""
    shown = _environment().get_template("blocks.html").module
    return "\n".join(str(getattr(shown, "show")(block)) for block in blocks)  # noqa: B009


@cache
def _environment() -> Any:
    """Where the templates are, with what they call."""
    from jinja2 import Environment, FunctionLoader, StrictUndefined

    # Autoescaping: names come from the user's files.
    environment = Environment(
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
        loader=FunctionLoader(_resource),
    )
    environment.filters["base64"] = lambda data: base64.b64encode(data).decode("ascii")
    environment.filters["kind"] = _kind
    environment.filters["flags"] = as_flags
    return environment


def _resource(name: str) -> str:
    return resources.files("caudal.report").joinpath(name).read_text(encoding="utf-8")


def _kind(block: Block) -> str:
    """Which macro of the template shows a block."""
    if isinstance(block, str):
        return "paragraph"
    if isinstance(block, Picture):
        return "picture"
    if isinstance(block, ScreenTable):
        return "table"
    return "beside" if isinstance(block, Beside) else "sounds"


def _cards(story: Story) -> Iterator[Card]:
    """The scores, the most important first, then what training took."""
    e, distilled = story.evaluation, story.distilled
    if e is not None:
        for i, (name, value, meaning) in enumerate(e.table()[1]):
            items = f" ({e.rows:,} {e.split} {e.many})" if i == 0 else ""
            label = f"{name}, {meaning}" if meaning else name
            yield Card(value, label + items, e.unit.name)
        if e.bits_per_column is not None and e.rows_outside < e.rows:
            yield Card(f"{e.bits_per_column:,.3f}", "bits per column")
        if e.noise_std is not None and e.noise_std == e.noise_std:
            spread = f"spread of one {e.one} over draws of the noise"
            yield Card(short(e.noise_std), spread, e.unit.name)
    if distilled is not None:
        yield Card(*distilled.headline)
    yield Card(f"{parameters(story.flow):,}", "parameters")
    if story.seconds is not None:
        yield Card(duration(story.seconds), "training")
    yield Card(str(story.seed), "seed")


def _notes(story: Story, contents: Contents) -> Iterator[str]:
    """What the numbers are, and what the reader should know of the data."""
    e, kind = story.evaluation, story.dataset.schema.kind
    if e is not None:
        yield from e.sentences()
        if story.flow.context_shape is not None and kind != "table":
            name = baseline_type(kind).name
            yield f"The probability is given the context, which the {name} does not use."
    yield from contents.notes
    yield from story.dataset.notes


def _beside_teacher(story: Story) -> Iterator[Section]:
    """What there is to say of a student."""
    if (d := story.distilled) is not None:
        caption = f"{d.caption} The student minimised {' + '.join(d.terms)}."
        yield Section(f"Beside its teacher, {d.teacher}", caption, [*d.verdict, *d.tables()])
