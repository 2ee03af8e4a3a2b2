"""What is told of sound in words, before training and after it."""

import shlex
from collections.abc import Iterator, Sequence
from typing import Any

from caudal.data import AudioSchema, Column, Dataset
from caudal.data.audio.convention import CAUDAL, CONVENTIONS
from caudal.data.audio.refinement import STEPS
from caudal.modalities.contexts import listed
from caudal.report import duration


def preview(dataset: Dataset) -> Iterator[str]:
    """The sizes of the three parts, the crops, and what the flow is given."""
    schema = dataset.schema
    sizes = [f"{len(p.names):,} {name} ({duration(p.duration)})" for name, p in dataset.parts]
    yield f"{schema.size}; clips: {', '.join(sizes)}"
    crop = f"{schema.crop:,} samples ({schema.crop / schema.rate:.3g} s)"
    yield f"trains on crops of {crop}, {dataset.train.n_rows:,} in a pass over the clips"
    yield from _context_lines(schema)


def next_commands(folder: str, schema: AudioSchema) -> list[str]:
    """What a user may want to type after training."""
    if schema.mels:
        lines = [
            f"caudal sample {folder} --out clip.wav",
            f"caudal sample {folder} --mel-of FILE.wav --out copy.wav",
        ]
        if schema.tells_loudness:
            lines.append(
                f"caudal sample {folder} --mel-of FILE.wav --refine {STEPS} --out voice.wav"
            )
    else:
        labels = "".join(f" {c.name}={_example(c)}" for c in schema.context)
        labels = f" --given{labels}" if labels else ""
        lines = [f"caudal sample {folder}{labels} --seconds 2 --out clip.wav"]
    return lines


def _example(column: Column) -> str:
    """A value that a label can have, for the shell."""
    values: Sequence[Any] | None = column.categories
    return "NUMBER" if values is None else shlex.quote(str(values[0]))


def _made(schema: AudioSchema) -> str:
    """How a spectrum is made, where that is not caudal's own way."""
    made = schema.convention
    if made == CAUDAL:
        return ""
    name = next((name for name, known in CONVENTIONS.items() if known == made), "")
    low, high = made.ends(schema.rate)
    return f", {name + ': ' if name else ''}{made.words}, {low:g} to {high:g} Hz"


def _context_lines(schema: AudioSchema) -> list[str]:
    """What the flow is conditioned on, in words."""
    lines = []
    if schema.mels:
        step = 1000 * schema.hop / schema.rate
        lines.append(
            f"given the log-mel spectrum, {schema.mels} bands every {step:.3g} ms{_made(schema)}"
        )
    for column in schema.context:
        if column.categories is None:
            lines.append(f"given {column.name}, a number")
            continue
        names = [str(name) for name in column.categories]
        lines.append(f"given {column.name}, of {len(names)}: {listed(names)}")
    return lines or ["given nothing"]
