"""The report of a run: one page to keep or to send, and its pictures as files."""

from collections.abc import Iterable, Sequence
from importlib import metadata, resources
from pathlib import Path

from caudal import files
from caudal.report.distilled import SPEED_HEAD, Distilled, fidelity_rows, speed_rows
from caudal.report.estimates import estimate_sentence, upper_bound
from caudal.report.evaluate import Evaluation
from caudal.report.html import card, escape, page, section, table
from caudal.report.html import image as image_tag
from caudal.report.numbers import OUTSIDE, number, plus_minus
from caudal.report.pictures import Picture, draw_all
from caudal.report.story import Story, duration, parameters
from caudal.report.tables import columns_section, samples_section


def write_report(folder: str | Path, story: Story) -> Path:
    """Writes pictures/*.png and report.html into the folder; gives the path of the latter."""
    pictures = draw_all(story)
    return write_page(folder, story.name, _parts(story, pictures), pictures)


def write_page(
    folder: str | Path, name: str, parts: Iterable[str], pictures: Sequence[Picture]
) -> Path:
    """Writes a page of parts, and beside it the pictures that are in them; gives its path."""
    folder = Path(folder)
    for picture in pictures:
        with files.atomic(folder / "pictures" / f"{picture.name}.png") as temporary:
            temporary.write_bytes(picture.png)
    css = resources.files("caudal.report").joinpath("page.css").read_text(encoding="utf-8")
    path = folder / "report.html"
    files.write_text(path, page(f"{name} · caudal", css, [*parts, footer()]))
    return path


def picture_section(picture: Picture) -> str:
    """A picture under its title and its caption."""
    return section(picture.title, picture.caption, image_tag(picture.png, picture.title))


def run_section(command: str, config: str) -> str:
    """What makes the run again."""
    return section("The run", "", *(f"<pre>{escape(text)}</pre>" for text in (command, config)))


def notes(lines: Iterable[str]) -> str:
    """What the reader should know, a paragraph each."""
    return "".join(f'<p class="note">{escape(line)}</p>' for line in lines)


def footer() -> str:
    """What made the page."""
    return f"<footer>caudal {metadata.version('caudal')}</footer>"


def _parts(story: Story, pictures: list[Picture]) -> list[str]:
    return [
        _header(story),
        _cards(story),
        _notes(story),
        *_distilled(story),
        samples_section(story),
        *map(picture_section, pictures),
        columns_section(story),
        run_section(story.command, story.config),
    ]


def _distilled(story: Story) -> list[str]:
    """What there is to say of a student."""
    if story.distilled is None:
        return []
    d = story.distilled
    said = notes(d.verdict)
    caption = f"{d.fidelity.n:,} samples of each; the student minimised {' + '.join(d.terms)}."
    return [
        section(f"Beside its teacher, {d.teacher}", caption, said, _measures(d), _speeds(d)),
    ]


def _measures(d: Distilled) -> str:
    return table(["", "", ""], fidelity_rows(d.fidelity), " n ")


def _speeds(d: Distilled) -> str:
    caption = '<p class="caption">Milliseconds, medians; on this machine.</p>'
    return caption + table(SPEED_HEAD, speed_rows(d.speeds), "nnnnnn")


def _header(story: Story) -> str:
    data = story.dataset
    rows = f"{data.train.n_rows:,} training, {data.valid.n_rows:,} validation, "
    rows += f"{data.test.n_rows:,} test rows"
    what = f"{story.recipe.name} on {data.name}: {_count(len(data.schema.columns), 'column')}"
    if data.schema.context:
        what += f" given {', '.join(c.name for c in data.schema.context)}"
    return (
        f"<header><h1>{escape(story.name)}</h1><p>{escape(what)}; {rows}</p>"
        f"<p>{escape(story.recipe.paper)}, {story.recipe.year}</p></header>"
    )


def _cards(story: Story) -> str:
    e = story.evaluation
    of = f"log-likelihood of {e.rows:,} {e.split} rows, {e.kind}"
    cards = [card(plus_minus(e.log_prob, e.two_se), of, unit="nats", main=True)]
    if e.gaussian_log_prob is not None:
        same = "the same rows under one Gaussian"
        cards.append(card(number(e.gaussian_log_prob), same, unit="nats"))
    if e.gain is not None and e.rows_outside < e.rows:
        which = ", of finite rows" if e.rows_outside else ""
        better = f"flow above Gaussian, row by row{which}"
        cards.append(card(plus_minus(e.gain, e.gain_two_se), better, unit="nats"))
    if e.bits_per_dim is not None and e.rows_outside < e.rows:
        cards.append(card(number(e.bits_per_dim), f"bits per column ({upper_bound(e.kind)})"))
    cards.append(card(f"{parameters(story.flow):,}", "parameters"))
    if story.seconds is not None:
        cards.append(card(duration(story.seconds), "training"))
    cards.append(card(str(story.seed), "seed"))
    return f'<div class="cards">{"".join(cards)}</div>'


def _notes(story: Story) -> str:
    e = story.evaluation
    lines = [
        f"Means in nats a row, in the units of the data, ± two standard errors. The Gaussian: "
        f"{e.gaussian}."
    ]
    if sentence := estimate_sentence(e):
        lines.append(sentence)
    if "lower bound" in e.kind:
        lines.append(
            "A lower bound: values in steps or missing are filled with noise, drawn once a row."
        )
    if e.rows_outside:
        lines.append(_outside(e))
    lines += story.dataset.notes
    return notes(lines)


def _outside(e: Evaluation) -> str:
    said = f"{_count(e.rows_outside, 'row')} of log-density −∞: {OUTSIDE}."
    if e.rows_outside == e.rows:
        return said
    said += f" Over the others the mean is {plus_minus(e.log_prob_inside, e.two_se)}"
    if e.gaussian_log_prob_inside is not None:
        said += f", under the Gaussian {number(e.gaussian_log_prob_inside)}"
    return said + "."


def _count(n: int, noun: str) -> str:
    return f"{n:,} {noun}" + ("s" if n != 1 else "")
