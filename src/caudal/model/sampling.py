"""What a model draws: new samples request by request, and the manifold between four examples."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import numpy as np
import torch
from annotated_types import Ge
from torch import Tensor

from caudal.data import prepare_picture
from caudal.errors import InputError
from caudal.fields import check_value
from caudal.interpolation import manifold
from caudal.modality import Examples, Request, Requests
from caudal.report import duration, unlike
from caudal.report.items import noise
from caudal.training.seeds import check_seed
from caudal.training.together import is_writer

if TYPE_CHECKING:
    from caudal.model.model import Model

_FEW, _MORE = 16, 144  # elements of brief draws, which tell how fast a flow is
_SHORT, _LONG = 4000, 10.0  # elements that take no time; seconds that should be announced
Draw = Callable[[Request, torch.Generator], Tensor]


@dataclass(frozen=True)
class Job:
    """Samples to be drawn.

    Attributes:
        model: that draws them.
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
    summary: Any = None

    def to_dict(self) -> dict[str, Any]:
        """For JSON, the same keys for every kind of data."""
        result: dict[str, Any] = {
            "out": self.out,
            "rows": self.samples,
            "seed": self.seed,
            "temperature": self.temperature,
        }
        if self.summary is not None:
            result[self.summary.key] = self.summary.to_dict()
        return result


def job(
    model: "Model",
    n: int | None,
    seed: int,
    temperature: float,
    sweeps: bool,
    drawing: Mapping[str, Any],
) -> Job:
    """Everything that is needed to draw, checked.

    Raises:
        InputError: an argument is out of its range, or the contexts do not fit.
    """
    check(n, seed, temperature)
    options = model.options(model.kind.drawing, drawing)
    with model.sweeping(sweeps):
        pass  # refuses flows that cannot, before any work
    draw = model.kind.draw(model, options, temperature)
    requests = model.kind.requests(model, n, options, seed, model.voice)
    return Job(model, requests, draw, seed, temperature, sweeps, options)


def stream(
    model: "Model", seed: int, temperature: float, drawing: Mapping[str, Any]
) -> Iterator[Any]:
    """The samples of `Model.sample` in pieces, as they are made; see `Model.stream`."""
    work = job(model, None, seed, temperature, False, drawing)
    generator = noise(model.flow, seed)
    pieces = (
        model.kind.stream(model, request, generator, temperature) for request in work.requests.each
    )
    return chain.from_iterable(pieces)


def check(n: int | None, seed: int, temperature: float) -> None:
    """Refuses numbers that no samples can have.

    Raises:
        InputError: names the argument.
    """
    check_seed(seed)
    check_value("n", n, Annotated[int, Ge(1)] | None)
    check_value("temperature", temperature, Annotated[float, Ge(0)])


def write(model: "Model", out: str, overwrite: bool, *asked: Any) -> Written:
    """Draws samples into a file or a folder; see `Model.write_samples`."""
    n, seed, temperature, sweeps, drawing = asked
    check(n, seed, temperature)
    options = model.options(model.kind.drawing, drawing)
    writer = model.kind.writer(out, model.schema, options, temperature)
    writer.prepare(overwrite)
    work = job(model, *asked)
    writer.expect(work.requests.samples)
    announce(work)
    writes = is_writer()
    with writer if writes else nullcontext():
        for part in work.parts():
            if writes:
                writer.write(*part)
    summary = getattr(work.draw, "summary", None)
    return Written(out, work.requests.samples, seed, temperature, summary and summary())


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
    """How fast a flow is, by brief draws; the first one may compile, and all have a start."""
    took = []
    for length in (_FEW, _FEW, _MORE):
        context = request.context
        if context is not None:
            schema: Any = work.model.schema
            context = context[..., : schema.frames(length)]
        short = request._replace(context=context, length=length)
        start = time.perf_counter()
        work.draw(short, noise(work.model.flow, 0))
        took.append(time.perf_counter() - start)
    return (_MORE - _FEW) / max(took[2] - took[1], 1e-6)


CORNERS = ("top left", "top right", "bottom left", "bottom right")


class Four(NamedTuple):
    """The chosen examples: x (4, *event), their context (4, C) or None, and what they are."""

    x: Tensor
    context: Tensor | None
    names: list[str]


class Manifold(NamedTuple):
    """What lies between four examples.

    Attributes:
        grid: (n, n, ...) samples in the user's own form: for images, uint8 (n, n, H, W, C).
        names: of the four, in the order of `CORNERS`.
        corner_error: how far the corners are off the examples at most, in the data's own units.
        n: items along each side.
        seed: of the noise between values in steps.
        four: the examples themselves.
    """

    grid: np.ndarray
    names: list[str]
    corner_error: float
    n: int
    seed: int
    four: Four

    def __repr__(self) -> str:
        shape = tuple(self.grid.shape)
        return f"Manifold(grid of shape {shape} between {', '.join(self.names)})"


def interpolate(
    model: "Model",
    out: str | Path | None,
    data: Any,
    rows: Sequence[int],
    n: int,
    seed: int,
    overwrite: bool,
    reading: Mapping[str, Any],
) -> Manifold:
    """The manifold between four examples; see `Model.interpolate`."""
    check_seed(seed)
    check_value("n", n, Annotated[int, Ge(2)])
    if len(rows) not in (0, 4):
        raise InputError(f"`rows` {' '.join(map(str, rows))}: give four numbers")
    path = None if out is None else prepare_picture(out, overwrite)
    options = model.options(model.kind.reading, reading)
    four = choose(model.kind.examples(model, data, options, model.voice), rows, seed)
    between = manifold(model.flow, four.x, four.context, n, seed)
    corners = manifold(model.flow, four.x, four.context, 2, seed).flatten(0, 1)
    error = float((corners.cpu().double() - four.x.double()).abs().max())
    cells = model.kind.cells(model.schema, between)
    made = Manifold(cells, four.names, error, n, seed, four)
    if path is not None:
        model.kind.write_manifold(path, model, made)
    return made


def choose(examples: Examples, numbers: Sequence[int], seed: int) -> Four:
    """The examples of those numbers, counted from 1; otherwise four at random, of unlike class.

    Raises:
        InputError: there is no example of a number.
    """
    rows, names, labels, where = examples
    chosen = [_index(number, len(rows)) for number in numbers] or unlike(len(rows), labels, seed)
    words = [f"{where} {names[i]}" for i in chosen]
    if labels is not None:
        words = [f"{text} (class {labels[i]})" for text, i in zip(words, chosen, strict=True)]
    context = None if rows.context is None else rows.context[chosen]
    return Four(rows.x[chosen], context, words)


def _index(number: int, n: int) -> int:
    if not 1 <= number <= n:
        raise InputError(f"`rows` {number}: there are images 1 to {n}")
    return number - 1
