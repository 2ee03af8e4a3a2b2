"""New samples, drawn request by request."""

import copy
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import torch
from annotated_types import Ge
from torch import Tensor

from caudal.bijections import by_sweeps
from caudal.errors import InputError
from caudal.fields import check_value
from caudal.guided import guided
from caudal.modality import Request, Requests
from caudal.report import duration
from caudal.report.items import noise
from caudal.training.seeds import check_seed
from caudal.training.threads import uncrowded
from caudal.training.together import by_rows, is_writer

if TYPE_CHECKING:
    from caudal.model.model import Model

_FEW, _MORE = 16, 144  # elements of brief draws, which tell how fast a flow is
_SHORT, _LONG = 4000, 10.0  # elements that take no time; seconds that should be announced
Draw = Callable[[Request, torch.Generator], Tensor]


@dataclass(frozen=True)
class Job:
    """Samples to be drawn.

    Attributes:
        model: the one that draws them.
        requests: what it is asked for.
        draw: how one request is answered.
        seed: of the noise.
        temperature: of the noise.
        sweeps: whether a sequential flow draws by sweeps.
        drawing: options of the kind of data.
    """

    model: "Model"
    requests: Requests
    draw: Draw
    seed: int
    temperature: float
    sweeps: bool
    drawing: Any

    def parts(self) -> Iterator[tuple[Any, ...]]:
        """The samples in the user's own form, a request at a time."""
        model, requests = self.model, self.requests
        generator = noise(model.flow, self.seed)
        with model.sweeping(self.sweeps):
            for request in model.voice.track(requests.each, "sampling", requests.calls):
                x = self.draw(request, generator)
                yield model.kind.decode(requests.schema or model.schema, x, request)


@dataclass(frozen=True)
class Written:
    """What was written: where, how many samples, and what there is to know of them."""

    out: str
    samples: int
    seed: int
    temperature: float
    guidance: float = 0.0
    summary: Any = None

    def to_dict(self) -> dict[str, Any]:
        """For JSON, the same keys for every kind of data."""
        result: dict[str, Any] = {
            "out": self.out,
            "rows": self.samples,
            "seed": self.seed,
            "temperature": self.temperature,
            "guidance": self.guidance,
        }
        if self.summary is not None:
            result[self.summary.key] = self.summary.to_dict()
        return result


@uncrowded()
def sample(
    model: "Model",
    n: int | None = None,
    *,
    seed: int = 0,
    temperature: float = 1.0,
    guidance: float = 0.0,
    sweeps: bool = False,
    **drawing: Any,
) -> Any:
    """New rows, images or clips, in the form of the data the model was trained on.

    A table comes back as the kind of table it was (a pyarrow Table if it was a file), images
    as uint8 (N, H, W, C), clips as a list of `Sound`, amplitudes with their rate.

    Args:
        n: how many; a usual number for the kind of data if None.
        seed: of the noise, and of which contexts are drawn.
        temperature: multiplies the noise; below 1 samples are likelier and less varied.
        guidance: above 0 samples are more typical of their context and less varied, and no longer
            follow the density; for images, where training had `drop_context` (`caudal.guided`).
        sweeps: flows that sample one element at a time draw all at once, by iteration.
        drawing: options of the kind of data, as of `caudal sample`, such as `given`.

    Raises:
        InputError: an argument is out of its range, or the contexts do not fit.
    """
    work = job(model, n, seed, temperature, guidance, sweeps, drawing)
    return model.kind.collect(model.schema, list(work.parts()), model.container)


def stream(
    model: "Model",
    mel_of: Any = None,
    *,
    seed: int = 0,
    temperature: float = 1.0,
    **drawing: Any,
) -> Iterator[Any]:
    """Sound as it is made: pieces of `Sound`, amplitudes (n, 1) with their rate.

    Joined, they are the clips that `sample` gives with the same arguments, to the bit, one
    after the other. A piece of a flow that samples one value at a time is there as soon as it
    is made, and a student makes each of its pieces in one pass.

    Args:
        mel_of: what to make sound of, a spectrum or a clip, as of `caudal sample --mel-of`.
        seed: of the noise.
        temperature: multiplies the noise.
        drawing: other options, as of `caudal sample`, such as `given` and `seconds`.

    Raises:
        InputError: as `sample`, or the model is not one of sound.
    """
    asked = drawing if mel_of is None else {**drawing, "mel_of": mel_of}
    work = job(model, None, seed, temperature, 0.0, False, asked)
    generator = noise(model.flow, seed)
    pieces = (
        model.kind.stream(model, request, work.drawing, generator, temperature)
        for request in work.requests.each
    )
    return chain.from_iterable(pieces)


@uncrowded()
def write_samples(
    model: "Model",
    out: str | Path,
    n: int | None = None,
    *,
    seed: int = 0,
    temperature: float = 1.0,
    guidance: float = 0.0,
    sweeps: bool = False,
    overwrite: bool = False,
    **drawing: Any,
) -> Written:
    """Writes new samples to `out`, whose name chooses the form; arguments as of `sample`.

    Raises:
        InputError: as `sample`, or nothing can be written there.
    """
    out = str(out)
    check(n, seed, temperature, guidance)
    options = model.options(model.kind.drawing, drawing)
    writer = model.kind.writer(out, model.schema, options, temperature)
    writer.prepare(overwrite)
    work = job(model, n, seed, temperature, guidance, sweeps, drawing)
    writer.expect(work.requests.samples)
    announce(work)
    writes = is_writer()
    with writer if writes else nullcontext():
        for part in work.parts():
            if writes:
                writer.write(*part)
    summary = getattr(work.draw, "summary", None)
    done = summary and summary()
    return Written(out, work.requests.samples, seed, temperature, guidance, done)


def job(
    model: "Model",
    n: int | None,
    seed: int,
    temperature: float,
    guidance: float,
    sweeps: bool,
    drawing: Mapping[str, Any],
) -> Job:
    """Everything that is needed to draw, checked.

    Raises:
        InputError: an argument is out of its range, or the contexts do not fit.
    """
    check(n, seed, temperature, guidance)
    model = guiding(model, guidance) if guidance else model
    options = model.options(model.kind.drawing, drawing)
    with model.sweeping(sweeps):
        pass  # refuses flows that cannot, before any work
    draw = model.kind.draw(model, options, temperature)
    requests = model.kind.requests(model, n, options, seed, model.voice)
    return Job(model, requests, draw, seed, temperature, sweeps, options)


def check(n: int | None, seed: int, temperature: float, guidance: float = 0.0) -> None:
    """Refuses numbers that no samples can have.

    Raises:
        InputError: names the argument.
    """
    check_seed(seed)
    check_value("n", n, Annotated[int, Ge(1)] | None)
    check_value("temperature", temperature, Annotated[float, Ge(0)])
    check_value("guidance", guidance, Annotated[float, Ge(0)])


def guiding(model: "Model", weight: float) -> "Model":
    """The same model with the guided flow of its own.

    Raises:
        InputError: its flow cannot be guided.
    """
    other = copy.copy(model)
    other.flow = guided(model.flow, weight)
    return other


def announce(work: Job) -> None:
    """Says beforehand how long samples of any length take, where that is long."""
    if work.sweeps or work.model.recipe.samples != "sequential":
        return
    requests = work.requests.each
    if not isinstance(requests, list) or requests[0].length is None:
        return
    total = sum(request.length for request in requests)
    if total < _SHORT:
        return
    speed = _elements_per_second(work, requests[0])
    if (seconds := total / speed) > _LONG:
        work.model.voice.say(
            f"{total:,} samples, one after the other at about {speed:,.0f} a second: "
            f"{duration(seconds)}"
        )


def _elements_per_second(work: Job, request: Request) -> float:
    """How fast a flow is, by brief draws; the first one may compile, and all have a start.

    What is done to whole samples afterwards is left out: it is no part of the rate.
    """
    plain, took = work.model.draw(work.temperature), []
    for length in (_FEW, _FEW, _MORE):
        context = request.context
        if context is not None:
            schema: Any = work.model.schema
            context = context[..., : schema.frames(length)]
        short = request._replace(context=context, length=length)
        start = time.perf_counter()
        plain(short, noise(work.model.flow, 0))
        took.append(time.perf_counter() - start)
    return (_MORE - _FEW) / max(took[2] - took[1], 1e-6)


def draw(model: "Model", temperature: float = 1.0) -> Callable[[Request, torch.Generator], Tensor]:
    """The plain way to draw: the flow's own samples."""
    like = model.flow.base.like

    def draw(request: Request, generator: torch.Generator) -> Tensor:
        context = None if request.context is None else request.context.to(like)

        def of(rows: slice, n: int) -> Tensor:
            given = None if context is None else context[rows]
            return model.flow.sample(n, given, temperature, generator, length=request.length)

        return by_rows(request.n, of)

    return draw


def sweeping(model: "Model", sweeps: bool) -> AbstractContextManager[None]:
    """Within, a sequential flow samples by sweeps, if that is asked for.

    Raises:
        InputError: the flow does not sample one element at a time.
    """
    if not sweeps:
        return nullcontext()
    if model.recipe.samples != "sequential":
        raise InputError(
            f"`sweeps` is for flows that sample one element at a time, and the "
            f"{model.recipe.name} of {model.name} does not: leave it out"
        )
    return by_sweeps(model.flow)
