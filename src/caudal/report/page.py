"""The report of a run: one page to keep or to send, and its pictures and sounds as files."""

import base64
from collections.abc import Iterator
from importlib import metadata, resources
from pathlib import Path
from typing import NamedTuple

from caudal import files
from caudal.report.baseline import baseline_type
from caudal.report.distilled import ScreenTable
from caudal.report.numbers import duration, parameters, short
from caudal.report.story import Beside, Block, Contents, Picture, Section, Story, Teller


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
    from jinja2 import Environment, StrictUndefined

    # Autoescaping: names come from the user's files.
    environment = Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined
    )
    environment.filters["base64"] = lambda data: base64.b64encode(data).decode("ascii")
    environment.filters["kind"] = _kind
    return environment.from_string(_resource("page.html")).render(
        story=story,
        contents=contents,
        cards=list(_cards(story)),
        notes=list(_notes(story, contents)),
        sections=[*_beside_teacher(story), *contents.sections],
        css=_resource("page.css"),
        version=metadata.version("caudal"),
    )


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
