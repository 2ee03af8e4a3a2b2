"""Clips with their log-density, as a table."""

import math
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import torch

from caudal.cli.datasets import refuse_reading
from caudal.cli.opened import OpenedRun
from caudal.cli.opened_audio import other_clips
from caudal.cli.screen import Screen, number
from caudal.data import TableWriter
from caudal.data.audio import Clips
from caudal.report.gaussian import noise

if TYPE_CHECKING:
    from caudal.cli.score import ScoreOptions


def run(options: "ScoreOptions", opened: OpenedRun, writer: TableWriter, screen: Screen) -> int:
    """Scores them, writes the table and says what is in it."""
    refuse_reading(options.images, options.run, "audio", but="corrupt")
    clips, notes = other_clips(opened, options.data, options.images.corrupt, screen)
    for note in notes:
        screen.warn(note)
    table = _scored(opened, clips, options.seed, screen)
    writer.check(table.schema)
    with writer:
        writer.write(table)
    result = _summary(options.out, table)
    screen.say(f"{options.out}: {table.num_rows:,} clips with log_prob ({opened.flow.kind}, nats)")
    if result["bits_per_sample"] is not None:
        screen.say(f"mean {number(result['bits_per_sample'], 4)} bits a sample")
        screen.say(f"least likely a sample: {result['worst']}")
    if result["clips_outside"]:
        screen.warn(f"{result['clips_outside']:,} clips have a log_prob of -inf")
    screen.result(result)
    return 0


def _scored(opened: OpenedRun, clips: Clips, seed: int, screen: Screen) -> pa.Table:
    """A row for each clip: its name, seconds, log_prob in nats, and bits a sample."""
    flow, like = opened.flow, opened.flow.base.like
    generator = noise(flow, seed)
    columns: dict[str, list[Any]] = {"clip": [], "seconds": [], "log_prob": []}
    for index in screen.track(range(len(clips.names)), "scoring", len(clips.names)):
        name, x, context = clips.clip(index)
        rows = None if context is None else context[None].to(like)
        with torch.no_grad():
            log_prob = float(flow.log_prob(x[None].to(like), rows, generator))
        columns["clip"].append(name)
        columns["seconds"].append(x.shape[-1] / opened.audio.rate)
        columns["log_prob"].append(log_prob)
    bits = [
        -log_prob / (seconds * opened.audio.rate * math.log(2))
        for seconds, log_prob in zip(columns["seconds"], columns["log_prob"], strict=True)
    ]
    return pa.table({**columns, "bits_per_sample": bits})


def _summary(out: str, table: pa.Table) -> dict[str, Any]:
    """For the screen and for JSON; the mean is over samples, not over clips."""
    rows = [row for row in table.to_pylist() if math.isfinite(row["log_prob"])]
    seconds = sum(row["seconds"] for row in rows)
    bits = sum(row["bits_per_sample"] * row["seconds"] for row in rows)
    worst = max(rows, key=lambda row: row["bits_per_sample"], default=None)
    return {
        "out": out,
        "clips": table.num_rows,
        "clips_outside": table.num_rows - len(rows),
        "bits_per_sample": bits / seconds if rows else None,
        "worst": worst["clip"] if worst else None,
        "unit": "nats",
    }
