"""Sound: clips of any length, from folders of recordings or arrays with a rate."""

import math
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import cycle, islice
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from annotated_types import Ge
from torch import Tensor

from caudal.base import FREE
from caudal.bijection import Chain, parts_of
from caudal.bijections import Rescale, Standardise
from caudal.data import AudioSchema, AudioWriter, Column, Dataset, Items, open_audio, open_clips
from caudal.data.audio.convention import CAUDAL, CONVENTIONS, Log, Name, Scale
from caudal.data.audio.prediction import prediction
from caudal.data.audio.recordings import FORMATS, Sound, finds_audio
from caudal.data.audio.schema import PREDICTION
from caudal.data.audio.spectra import Written, finds_spectra, hop_in, read_spectra
from caudal.data.refusals import SOUNDS as NAMES
from caudal.dequantization import AudioDequantization
from caudal.errors import InputError
from caudal.fields import check_fields
from caudal.flow import Flow
from caudal.losses import nll_per_element
from caudal.modalities.contexts import fixed_values, with_fixed
from caudal.modalities.rows import nothing_between
from caudal.modality import Examples, Modality, Request, Requests, Voice, Watch, opening
from caudal.nets import ColumnEmbedding, Embedding, WithLast
from caudal.recipes import Recipe
from caudal.recipes.wavenet import AudioRecipe
from caudal.report import (
    AudioTeller,
    Autoregression,
    CopiesFilm,
    SpectralPrediction,
    compare_audio,
    copy_clips,
    copying_seconds,
    duration,
    folder_of,
)
from caudal.streaming import stream
from caudal.training.clip_terms import AudioDistillation

SECONDS = 1.0
"""Length of clips that no spectrum gives one."""
_LISTED = 20  # values of a label that are named in the preview


@dataclass(frozen=True)
class AudioReading:
    """How recordings are read."""

    corrupt: Literal["refuse", "skip"] = "refuse"
    """Refuse files that cannot be read, or are silent, clipped or too short, or skip them."""

    def __post_init__(self) -> None:
        check_fields(self)


@dataclass(frozen=True)
class AudioOptions:
    """Which clips of sound to learn, how they are read, and what a flow is conditioned on."""

    data: str
    """A folder of .wav, .flac, .ogg or .mp3 files, one such file, or the built-in vowels."""
    context: tuple[str, ...] = ("mel",)
    """What to condition on: mel, the spectrum; none; or labels."""
    labels: str | None = None
    """What file names say, such as '{digit}_{speaker}_{index}': names for the context."""
    metadata: str | None = None
    """A .csv or .tsv with a row for each file, whose columns are names for the context."""
    valid: str | None = None
    """Validation clips, or a pattern of file names, instead of a share of the data."""
    test: str | None = None
    """Test clips, or a pattern of file names such as '*_[0-4].flac', instead of a share."""
    split: tuple[float, float, float] = (0.8, 0.1, 0.1)
    """Shares of training, validation and test clips, of parts that the data do not have."""
    split_by: str | None = None
    """A label, such as speaker, or a regular expression on names: clips that have it in common
    stay in one part."""
    split_seed: int = 0
    """Seed of the split, apart from that of training: runs of several seeds share one split."""
    corrupt: Literal["refuse", "skip"] = "refuse"
    """Refuse files that cannot be read, or are silent, clipped or too short, or skip them."""
    rate: int | None = None
    """Samples a second to resample to; that of most files if not given."""
    seconds: float = 0.25
    """Length of the crops to train on."""
    mels: Annotated[int, Ge(0)] = 64
    """Bands of the log-mel spectrum to condition on."""
    window: int | None = None
    """Samples of its window; the power of two nearest to 46 ms if not given."""
    trim: bool = True
    """Cut silence off at both ends."""
    normalize: bool = True
    """Scale each clip to the same peak."""
    mel_convention: Name = "caudal"
    """How the spectrum is made, so that spectra from elsewhere fit: caudal's own way, or that of
    torchaudio (MelSpectrogram and AmplitudeToDB), HiFi-GAN, or Tacotron 2."""
    mel_low: float | None = None
    """Where its first band begins, in Hz; as in the convention if not given, so all of these."""
    mel_high: float | None = None
    """Where its last band ends, in Hz."""
    mel_scale: Scale | None = None
    """On which its bands are evenly spaced: Slaney's scale or HTK's."""
    mel_log: Log | None = None
    """What numbers in files of spectra are: logarithms to the base e or 10, or decibels (db)."""
    mel_floor: float | None = None
    """The least value before the logarithm."""
    prediction: Annotated[int, Ge(0)] = PREDICTION
    """Samples that a linear prediction by the spectrum looks back; the flow learns what it leaves.
    0 for none."""
    update: bool = False
    """Update that prediction by the spectra of frames that have begun: at 8 kHz voices
    have more pitch from the start, and a step takes about twice as long."""

    def __post_init__(self) -> None:
        check_fields(self, skip=("data", "valid", "test"))


_SHORT, _LONG = 15.0, 60.0  # minutes


@dataclass(frozen=True)
class AudioDrawing:
    """What clips are conditioned on; a flow that is given a spectrum copies clips."""

    mel_of: str | None = None
    """What to make sound of: a file of audio or a folder, whose clips are copied; or spectra, as
    a front end writes them, in a .npy or .npz file (bands, frames). The run's test clips are
    copied if not given."""
    mel_convention: Name | None = None
    """How spectra in a file were made, where not as the run's own."""
    mel_hop: int | None = None
    """Samples a frame of theirs, where not as the run's own; it has to divide that."""
    mel_log: Log | None = None
    """What their numbers are: logarithms to the base e or 10, or decibels (db)."""
    trim: bool = False
    """Cut silence off at both ends of clips that are copied; else copies are as long as these."""
    normalize: bool = False
    """Give copies the peak that the run gave its clips; else they are as loud as the originals."""
    given: tuple[str, ...] = ()
    """Values of labels for all clips, such as digit=3."""
    seconds: float | None = None
    """Length of each clip, 1 if not given, where no spectrum says it."""

    def __post_init__(self) -> None:
        if self.seconds is not None and not 0 < self.seconds < math.inf:
            raise InputError(f"`seconds` {self.seconds}: must be a positive number")


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
        return self._open_all(data, schema, reading.corrupt, options, voice)

    def _open_all(
        self,
        data: Any,
        schema: AudioSchema,
        corrupt: str,
        options: Mapping[str, Any],
        voice: Voice,
        fixed: Mapping[str, Any] | None = None,
    ) -> Items:
        labels: dict[str, Any] = {name: options.get(name) for name in ("labels", "metadata")}
        return open_clips(
            data, schema, corrupt=corrupt, progress=voice.reading(self.what), fixed=fixed, **labels
        )

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
        make = self._copies if model.schema.mels else self._clips
        each = list(make(model, n, drawing, fixed, voice))
        return Requests(each, len(each), len(each))

    def _copies(
        self,
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
            yield from self._of_spectra(model, n, drawing, fixed)
            return
        if drawing.mel_of is None:
            clips = model.dataset_or("give a file or a folder with `mel_of`").test
        else:
            clips = self._like_run(model, drawing, fixed, voice).source
        count = n if n is not None else (1 if drawing.mel_of is None else len(clips.names))
        names = [column.name for column in model.schema.context]
        for index in islice(cycle(range(len(clips.names))), count):
            name, x, context = clips.clip(index)
            rows = with_fixed(context[None], names, fixed) if fixed else context[None]
            keeps_level = drawing.mel_of is not None and not drawing.normalize
            gain = 1 / clips.treatments[index].gain if keeps_level else 1.0
            yield Request(1, rows, x.shape[-1], name, gain=gain)

    def _like_run(
        self, model: Any, drawing: AudioDrawing, fixed: dict[str, float], voice: Voice
    ) -> Items:
        """Clips of other data, with the fixed labels whatever their names say.

        They are whole, unless they are to be trimmed, and as loud as those of the run.
        """
        columns = [column for column in model.schema.context if column.name in fixed]
        values = {column.name: _value(column, fixed[column.name]) for column in columns}
        scaled = model.schema.normalize or drawing.normalize
        schema = replace(model.schema, trim=drawing.trim, normalize=scaled)
        items = self._open_all(drawing.mel_of, schema, "refuse", model.config, voice, values)
        for note in items.notes:
            voice.note(note)
        return items

    def _of_spectra(
        self, model: Any, n: int | None, drawing: AudioDrawing, fixed: dict[str, float]
    ) -> Iterator[Request]:
        """Clips with spectra from elsewhere."""
        schema = model.schema
        hop = drawing.mel_hop or hop_in(drawing.mel_of)
        written = Written.of(schema, drawing.mel_convention, hop, drawing.mel_log)
        spectra = read_spectra(drawing.mel_of, schema, written)
        labels = self._labels(model, fixed)
        for name, log_mel in islice(cycle(spectra), len(spectra) if n is None else n):
            codes, frames = next(labels), log_mel.shape[1]
            context = log_mel[None]  # (1, mels, F)
            if codes is not None:
                context = torch.cat([codes[:, :, :1].expand(-1, -1, frames), context], 1)
            yield Request(1, context, frames * schema.hop, name)

    def _clips(
        self,
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
        rows = self._labels(model, fixed)
        for index in range(n or 1):
            yield Request(1, next(rows), length, f"{index + 1:04}")

    def _labels(self, model: Any, fixed: dict[str, float]) -> Iterator[Tensor | None]:
        """Labels (1, C, 1) of the training clips in turn, with what is fixed; None without any."""
        names = [column.name for column in model.schema.context]
        if not names:
            return iter(lambda: None, 0)
        if len(fixed) == len(names):
            return cycle([torch.tensor([[[fixed[name]] for name in names]])])
        clips = model.dataset_or("give all labels with `given`").train
        every = (clips.codes[index] for index in cycle(range(len(clips.names))))
        return (with_fixed(codes[None, :, None], names, fixed) for codes in every)

    def decode(self, schema: AudioSchema, x: Tensor, request: Request) -> tuple[Any, ...]:
        return list(schema.decode(x * request.gain)), [request.name]

    def stream(
        self, model: Any, request: Request, generator: torch.Generator, temperature: float
    ) -> Iterator[Sound]:
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
        schema = dataset.schema
        sizes = [f"{len(p.names):,} {name} ({duration(p.duration)})" for name, p in dataset.parts]
        yield f"{schema.size}; clips: {', '.join(sizes)}"
        crop = f"{schema.crop:,} samples ({schema.crop / schema.rate:.3g} s)"
        yield f"trains on crops of {crop}, {dataset.train.n_rows:,} in a pass over the clips"
        yield from _context_lines(schema)

    def flow_lines(self, recipe: AudioRecipe, schema: AudioSchema) -> list[str]:
        """How far back a sample sees, and what the flow begins at."""
        field = recipe.receptive_field
        lines = [f"receptive field {field:,} samples, {1000 * field / schema.rate:,.4g} ms"]
        if _is_predicted(recipe, schema):
            more = ", updated by frames that have begun" if schema.update else ""
            what = f"a linear prediction by the spectrum leaves, order {schema.order}{more}"
            lines.append(f"learns what {what}")
        return lines

    def next_commands(self, folder: str, schema: AudioSchema, teaches: bool) -> list[str]:
        if schema.mels:
            lines = [
                f"caudal sample {folder} --out clip.wav",
                f"caudal sample {folder} --mel-of FILE.wav --out copy.wav",
            ]
        else:
            given = "".join(f" {c.name}={_example(c)}" for c in schema.context)
            given = f" --given{given}" if given else ""
            lines = [f"caudal sample {folder}{given} --seconds 2 --out clip.wav"]
        if teaches:
            lines.append(f"caudal distill {folder} --out {folder}-parallel")
        return lines

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


def _value(column: Column, code: float) -> Any:
    """What a code of a label stands for."""
    return code if column.categories is None else column.categories[int(code)]


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
        more = f", ... and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
        lines.append(f"given {column.name}, of {len(names)}: {', '.join(names[:_LISTED])}{more}")
    return lines or ["given nothing"]
