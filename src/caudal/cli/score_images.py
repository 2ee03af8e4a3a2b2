"""Images with their log-density, as a table."""

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import torch
from torch import Tensor

from caudal.cli.opened import OpenedRun
from caudal.cli.opened_images import class_names, other_images
from caudal.cli.scored import COLUMN, columns_of, error_words, kind_of
from caudal.cli.screen import Screen, number
from caudal.data import ImageSchema, Rows, TableWriter
from caudal.flow import Flow
from caudal.losses import bits_per_dim
from caudal.report.evaluate import log_prob_rows_with_error
from caudal.report.gaussian import noise, place

if TYPE_CHECKING:
    from caudal.cli.score import ScoreOptions

PIECE_NUMBERS = 1 << 20  # pixels scored at a time


def run(options: "ScoreOptions", opened: OpenedRun, writer: TableWriter, screen: Screen) -> int:
    """Scores them, writes the table and says what is in it."""
    rows, names, notes = other_images(opened, options.data, options.images, screen)
    for note in notes:
        screen.warn(note)
    classes = class_names(opened.images, rows.context)
    scores = torch.cat(list(_scored(opened, rows, options.seed, screen)), 1)
    by_column = dict(zip(columns_of(opened.flow), scores, strict=False))
    table = as_table(opened.images, names, classes, by_column)
    writer.check(table.schema)
    with writer:
        writer.write(table)
    result = summary(options.out, opened.images, names, scores[0])
    inside = scores[1, torch.isfinite(scores[0])]
    error = float(inside.mean()) if len(inside) else None
    _tell(screen, result, opened.flow, error)
    screen.result({**result, **kind_of(opened.flow, error)})
    return 0


def _tell(screen: Screen, result: dict[str, Any], flow: Flow, error: float | None) -> None:
    """What is in the table."""
    screen.say(f"{result['out']}: {result['images']:,} images with log_prob ({flow.kind}, nats)")
    if result["log_prob"] is not None:
        bits = number(result["bits_per_dim"], 4)
        screen.say(f"mean {number(result['log_prob'])} nats, {bits} bits/dim")
        screen.say(f"lowest {number(result['lowest'])}, of {result['lowest_image']}")
    if said := error_words(flow, error, "image"):
        screen.say(said)
    if result["images_outside"]:
        screen.warn(f"{result['images_outside']:,} images have a log_prob of -inf")


def as_table(
    schema: ImageSchema, names: list[str], classes: list[Any] | None, scores: dict[str, Tensor]
) -> pa.Table:
    """A row for each image, with its scores by their columns."""
    columns: dict[str, Any] = {"image": pa.array(names, pa.string())}
    if classes is not None:
        columns["class"] = pa.array(classes)
    columns |= {name: values.numpy() for name, values in scores.items()}
    columns["bits_per_dim"] = -scores[COLUMN].numpy() / (schema.countable * math.log(2))
    return pa.table(columns)


def summary(out: str, schema: ImageSchema, names: list[str], log_prob: Tensor) -> dict[str, Any]:
    """For people and for JSON."""
    inside = torch.isfinite(log_prob)
    some = bool(inside.any())
    mean = float(log_prob[inside].mean()) if some else None
    worst = int(torch.where(inside, log_prob, torch.inf).argmin())
    return {
        "out": out,
        "images": len(names),
        "images_outside": int((~inside).sum()),
        "log_prob": mean,
        "bits_per_dim": None if mean is None else bits_per_dim(mean, schema.countable),
        "lowest": float(log_prob[worst]) if some else None,
        "lowest_image": names[worst] if some else None,
        "unit": "nats",
    }


@torch.no_grad()
def _scored(opened: OpenedRun, rows: Rows, seed: int, screen: Screen) -> Iterator[Tensor]:
    """Log-densities of the images and their standard errors (2, n), a piece at a time."""
    generator = noise(opened.flow, seed)
    size = max(1, PIECE_NUMBERS // opened.images.countable)
    for batch in screen.track(rows.ordered(size), "scoring", math.ceil(len(rows) / size)):
        placed = place(opened.flow, batch)
        yield torch.stack(log_prob_rows_with_error(opened.flow, placed, generator)).cpu()
