"""Requests for clips: copies by their spectra, or clips of given labels."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import cycle, islice
from typing import Any

import torch
from torch import Tensor

from caudal.data import AudioSchema, Column, Items, open_clips
from caudal.data.audio.recordings import finds_audio
from caudal.data.audio.spectra import Written, finds_spectra, hop_in, read_spectra
from caudal.errors import InputError
from caudal.modalities.audio.options import AudioDrawing
from caudal.modalities.contexts import with_fixed
from caudal.modality import Request, Voice

SECONDS = 1.0
"""Length of clips that no spectrum gives one."""


def open_items(
    data: Any,
    schema: AudioSchema,
    corrupt: str,
    options: Mapping[str, Any],
    voice: Voice,
    fixed: Mapping[str, Any] | None = None,
) -> Items:
    """Clips of `data`, read as those of the run, with some labels fixed."""
    labels: dict[str, Any] = {name: options.get(name) for name in ("labels", "metadata")}
    return open_clips(
        data, schema, corrupt=corrupt, progress=voice.reading("audio"), fixed=fixed, **labels
    )


def copies(
    model: Any,
    n: int | None,
    drawing: AudioDrawing,
    fixed: dict[str, float],
    voice: Voice,
) -> Iterator[Request]:
    """Clips with the spectra of others."""
    if drawing.seconds is not None:
        raise InputError(
            f"`seconds`: {model.name} is given a spectrum, which says how long a clip is"
        )
    if finds_spectra(drawing.mel_of) and not finds_audio(drawing.mel_of):
        yield from _of_spectra(model, n, drawing, fixed)
        return
    if drawing.mel_of is None:
        clips = model.dataset_or("give a file or a folder with `mel_of`").test
    else:
        clips = _like_run(model, drawing, fixed, voice).source
    count = n if n is not None else (1 if drawing.mel_of is None else len(clips.names))
    names = [column.name for column in model.schema.context]
    for index in islice(cycle(range(len(clips.names))), count):
        name, x, context = clips.clip(index)
        rows = with_fixed(context[None], names, fixed) if fixed else context[None]
        keeps_level = drawing.mel_of is not None and not drawing.normalize
        gain = 1 / clips.treatments[index].gain if keeps_level else 1.0
        yield Request(1, rows, x.shape[-1], name, gain=gain)


def _like_run(model: Any, drawing: AudioDrawing, fixed: dict[str, float], voice: Voice) -> Items:
    """Clips of other data, with the fixed labels whatever their names say.

    They are whole, unless they are to be trimmed, and as loud as those of the run.
    """
    columns = [column for column in model.schema.context if column.name in fixed]
    values = {column.name: _value(column, fixed[column.name]) for column in columns}
    scaled = model.schema.normalize or drawing.normalize
    schema = replace(model.schema, trim=drawing.trim, normalize=scaled)
    items = open_items(drawing.mel_of, schema, "refuse", model.config, voice, values)
    for note in items.notes:
        voice.note(note)
    return items


def _of_spectra(
    model: Any, n: int | None, drawing: AudioDrawing, fixed: dict[str, float]
) -> Iterator[Request]:
    """Clips with spectra from elsewhere."""
    schema = model.schema
    hop = drawing.mel_hop or hop_in(drawing.mel_of)
    written = Written.of(schema, drawing.mel_convention, hop, drawing.mel_log)
    spectra = read_spectra(drawing.mel_of, schema, written)
    labels = _labels(model, fixed)
    for name, log_mel in islice(cycle(spectra), len(spectra) if n is None else n):
        codes, frames = next(labels), log_mel.shape[1]
        context = log_mel[None]  # (1, mels, F)
        if codes is not None:
            context = torch.cat([codes[:, :, :1].expand(-1, -1, frames), context], 1)
        yield Request(1, context, frames * schema.hop, name)


def labelled(
    model: Any,
    n: int | None,
    drawing: AudioDrawing,
    fixed: dict[str, float],
    voice: Voice,
) -> Iterator[Request]:
    """Clips given labels, or nothing."""
    if drawing.mel_of is not None:
        raise InputError(f"`mel_of`: {model.name} was not given a spectrum, so it copies none")
    length = max(1, round((drawing.seconds or SECONDS) * model.schema.rate))
    rows = _labels(model, fixed)
    for index in range(n or 1):
        yield Request(1, next(rows), length, f"{index + 1:04}")


def _labels(model: Any, fixed: dict[str, float]) -> Iterator[Tensor | None]:
    """Labels (1, C, 1) of the training clips in turn, with what is fixed; None without any."""
    names = [column.name for column in model.schema.context]
    if not names:
        return iter(lambda: None, 0)
    if len(fixed) == len(names):
        return cycle([torch.tensor([[[fixed[name]] for name in names]])])
    clips = model.dataset_or("give all labels with `given`").train
    every = (clips.codes[index] for index in cycle(range(len(clips.names))))
    return (with_fixed(codes[None, :, None], names, fixed) for codes in every)


def _value(column: Column, code: float) -> Any:
    """What a code of a label stands for."""
    return code if column.categories is None else column.categories[int(code)]
