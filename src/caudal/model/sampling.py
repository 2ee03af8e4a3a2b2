"""New samples of a model: drawn request by request, in the user's own form."""

import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from caudal.errors import InputError
from caudal.modality import Request, Requests
from caudal.report import duration
from caudal.report.items import noise
from caudal.training.seeds import check_seed

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
                yield model.kind.decode(model.schema, x, request)


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
        result = {
            "out": self.out,
            "rows": self.samples,
            "seed": self.seed,
            "temperature": self.temperature,
        }
        return result if self.summary is None else {**result, "exact": self.summary.to_dict()}


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


def check(n: int | None, seed: int, temperature: float) -> None:
    """Refuses numbers that no samples can have.

    Raises:
        InputError: names the argument.
    """
    check_seed(seed)
    if n is not None and n < 1:
        raise InputError(f"`n` {n}: must be at least 1")
    if not 0 <= temperature < math.inf:
        raise InputError(f"`temperature` {temperature}: must be at least 0")


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
    with writer:
        for part in work.parts():
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
