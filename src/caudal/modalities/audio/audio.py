"""Sound: clips of any length, from folders of recordings or arrays with a rate."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from caudal.base import FREE
from caudal.bijection import Chain, parts_of
from caudal.bijections import Rescale, Standardise
from caudal.data import AudioSchema, AudioWriter, Dataset, Items, open_audio
from caudal.data.audio.prediction import prediction
from caudal.data.audio.recordings import FORMATS, Sound, finds_audio
from caudal.data.refusals import SOUNDS as NAMES
from caudal.dequantization import AudioDequantization
from caudal.errors import InputError
from caudal.flow import Flow
from caudal.losses import nll_per_element
from caudal.modalities.audio.options import AudioDrawing, AudioOptions, AudioReading
from caudal.modalities.audio.refining import Draw, Refining
from caudal.modalities.audio.requests import copies, labelled, open_items
from caudal.modalities.audio.words import next_commands, preview
from caudal.modalities.contexts import fixed_values
from caudal.modalities.rows import nothing_between
from caudal.modality import Examples, Modality, Request, Requests, Voice, Watch, opening
from caudal.nets import ColumnEmbedding, Embedding, WithLast
from caudal.recipes import Recipe
from caudal.recipes.wavenet import AudioRecipe
from caudal.report import (
    AudioGuide,
    AudioTeller,
    Autoregression,
    CopiesFilm,
    SpectralPrediction,
    compare_audio,
    copy_clips,
    copying_seconds,
    folder_of,
)
from caudal.streaming import stream
from caudal.training.clip_terms import AudioDistillation

_SHORT, _LONG = 15.0, 60.0  # minutes


class Audio(Modality):
    """Sound of one channel and any length, as masses of 16-bit numbers."""

    name = "audio"
    what = "audio"
    streams = True
    names = NAMES
    formats = FORMATS
    options = AudioOptions
    reading = AudioReading
    drawing = AudioDrawing
    distillation = AudioDistillation
    baseline, beginning = Autoregression, SpectralPrediction
    passes, redrawn, least_evaluated, report_seconds = 2, 0, 8, 30.0
    classified = 100
    draws = 1  # the noise of thousands of samples averages out within a clip
    teller = AudioTeller
    guide = AudioGuide()
    trainable = usual_recipe = "wavenet"

    # --- data -----------------------------------------------------------------------------------

    def recognises(self, data: Any) -> bool:
        return finds_audio(data)

    def takes(self, recipe: type[Recipe]) -> bool:
        return recipe.audio

    def open(
        self,
        options: AudioOptions,
        recipe: AudioRecipe,
        schema: AudioSchema | None,
        voice: Voice,
    ) -> Dataset:
        if recipe.scores == "sequential" and schema is None:
            raise InputError(
                f"{recipe.name} scores one sample at a time, and would train for ever by maximum "
                f"likelihood: train {self.trainable}, and make a student of it with caudal distill"
            )
        progress = voice.reading(self.what)
        return open_audio(**opening(options), hop=recipe.hop, schema=schema, progress=progress)

    def open_all(
        self,
        data: Any,
        schema: AudioSchema,
        reading: AudioReading,
        options: Mapping[str, Any],
        voice: Voice,
    ) -> Items:
        return open_items(data, schema, reading.corrupt, options, voice)

    def settled(self, options: AudioOptions, dataset: Dataset) -> AudioOptions:
        """The rate and the window are those of the schema, whoever chose them."""
        return replace(options, rate=dataset.schema.rate, window=dataset.schema.window)

    # --- flows ----------------------------------------------------------------------------------

    @property
    def loss(self) -> Callable[[Flow, Tensor, Tensor | None], Tensor]:
        return nll_per_element

    def training(self, recipe: type[Recipe]) -> Mapping[str, Any]:
        """A crop of sound holds thousands of samples, so that fewer rows make a batch."""
        return {"batch_size": 8, "ema": 0.995, "patience": 0}

    def size(self, dataset: Dataset, minutes: float | None) -> str | None:
        """By the time there is."""
        if minutes is None:
            return None
        return "small" if minutes < _SHORT else "medium" if minutes < _LONG else "large"

    def watch(
        self, recipe: AudioRecipe, flow: Flow, dataset: Dataset, seed: int, folder: Path
    ) -> Watch:
        """Leaves a second of sound in the run folder while the flow is trained."""
        return CopiesFilm(folder_of(folder), flow, dataset, seed)

    def dress(self, recipe: AudioRecipe, schema: AudioSchema) -> Flow:
        """The recipe's flow, dressed for clips: log_prob is a mass of whole numbers, in nats.

        From the data to the noise: dequantisation, amplitudes in [-1, 1), a linear prediction
        where there is a spectrum, standardisation, the recipe's bijection. A density on [-1, 1],
        such as a histogram, is neither predicted nor standardised.

        Raises:
            InputError: the recipe does not model sound, or has frames of another length.
        """
        if not self.takes(type(recipe)):
            raise InputError(f"{recipe.name} does not model sound: take {self.trainable}")
        if recipe.hop != schema.hop:
            raise InputError(f"`hop` {recipe.hop}: the data's frames are of {schema.hop} samples")
        numbers = [0] * schema.mels
        levels = [*schema.levels_of_context, *numbers]
        embedding: Embedding | None = ColumnEmbedding(levels) if schema.n_context else None
        core = recipe.build(
            (1, FREE),
            (embedding.n_features, FREE) if embedding else None,
            standardise=False,
            white=_is_predicted(recipe, schema),
        )
        parts = parts_of(core.bijection)
        if recipe.real:
            parts.append(Standardise((1, FREE)))
        if embedding and _is_predicted(recipe, schema):
            parts.append(prediction(schema))
            embedding = WithLast(embedding, schema.mels)
        return Flow(
            Chain([*parts, Rescale(1 / schema.full_scale)]),
            core.base,
            context_shape=(schema.n_context, FREE) if schema.n_context else None,
            embedding=embedding,
            dequantization=AudioDequantization(schema.bits),
        )

    # --- samples --------------------------------------------------------------------------------

    def requests(
        self, model: Any, n: int | None, drawing: AudioDrawing, seed: int, voice: Voice
    ) -> Requests:
        fixed = fixed_values(model.schema.context, drawing.given)
        make = copies if model.schema.mels else labelled
        each = list(make(model, n, drawing, fixed, voice))
        return Requests(each, len(each), len(each))

    def draw(self, model: Any, drawing: AudioDrawing, temperature: float) -> Draw:
        draw: Draw = super().draw(model, drawing, temperature)
        return Refining(model, draw, drawing.refine) if drawing.refine else draw

    def decode(self, schema: AudioSchema, x: Tensor, request: Request) -> tuple[Any, ...]:
        return list(schema.decode(x * request.gain)), [request.name]

    def stream(
        self,
        model: Any,
        request: Request,
        drawing: AudioDrawing,
        generator: torch.Generator,
        temperature: float,
    ) -> Iterator[Sound]:
        if drawing.refine:
            raise InputError(
                "`refine`: each step takes the whole clip, so that it cannot be heard as it is "
                "made: sample to a file, or leave it out"
            )
        flow = model.flow
        context = None if request.context is None else request.context.to(flow.base.like)
        z = flow.base.sample(request.n, generator, request.length) * temperature
        for x in stream(flow, z, context):
            piece = self.decode(model.schema, x, request)
            yield from self.collect(model.schema, [piece], "")

    def cells(self, schema: AudioSchema, grid: Tensor) -> Any:
        raise nothing_between("the run", schema.what)

    def writer(
        self, path: str, schema: AudioSchema, drawing: AudioDrawing, temperature: float
    ) -> AudioWriter:
        return AudioWriter(path, schema.rate)

    def collect(self, schema: AudioSchema, parts: list[tuple[Any, ...]], container: str) -> Any:
        clips = [clip for clips, _ in parts for clip in clips]
        return [Sound(clip[:, None] / float(schema.full_scale), schema.rate) for clip in clips]

    # --- what people see ------------------------------------------------------------------------

    def preview(self, dataset: Dataset) -> Iterator[Any]:
        return preview(dataset)

    def flow_lines(self, recipe: AudioRecipe, schema: AudioSchema) -> list[str]:
        """How far back a sample sees, and what the flow begins at."""
        field = recipe.receptive_field
        lines = [f"receptive field {field:,} samples, {1000 * field / schema.rate:,.4g} ms"]
        if _is_predicted(recipe, schema):
            more = ", updated by frames that have begun" if schema.update else ""
            what = f"a linear prediction by the spectrum leaves, order {schema.order}{more}"
            lines.append(f"learns what {what}")
        return lines

    def next_commands(self, folder: str, schema: AudioSchema) -> list[str]:
        return next_commands(folder, schema)

    def copying(self, flow: Flow, source: Any, schema: AudioSchema) -> tuple[float, int]:
        return copying_seconds(flow, source, schema) if schema.mels else (0.0, 0)

    def copy(
        self, flow: Flow, source: Any, schema: AudioSchema, limit: int | None, voice: Voice
    ) -> Any:
        """Copies of clips from their spectra."""
        return copy_clips(flow, source, schema, limit, voice.track) if schema.mels else None

    # --- students -------------------------------------------------------------------------------

    def compare(self, student: Flow, model: Any, name: str, terms: list[str], voice: Voice) -> Any:
        asked = (student, model.flow, model.dataset)
        return compare_audio(*asked, name=name, terms=terms, track=voice.track)

    def examples(self, model: Any, data: Any, reading: Any, voice: Voice) -> Examples:
        raise nothing_between(model.name, self.what)

    def write_manifold(self, path: Path, model: Any, grid: Any) -> None:
        raise nothing_between(model.name, self.what)


def _is_predicted(recipe: AudioRecipe, schema: AudioSchema) -> bool:
    """Whether the recipe models the residual of a linear prediction by the spectrum."""
    return schema.order > 0 and recipe.real
