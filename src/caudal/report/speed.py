"""How long sampling takes: a teacher by its slow and fast ways, and its student."""

import copy
import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, cast

import torch
from torch import Tensor

from caudal.bijection import parts_of
from caudal.bijections import Autoregressive
from caudal.errors import InputError
from caudal.flow import Flow
from caudal.nets import CausalNet, Naive, Rerun, Stepwise, WaveNet
from caudal.report.numbers import number

SPEED_HEAD = [
    "samples",
    "teacher, D passes",
    "teacher, stepping",
    "student",
    "D passes / student",
    "stepping / student",
]
RATES_HEAD = ["", "on", "seconds of sound", "took (s)", "samples a second", "times real time"]
LONGEST = 15.0  # seconds; what is predicted to take longer is left out
FEWEST, MOST = 3, 101  # repetitions; what takes over 3 s is run once


@dataclass(frozen=True)
class SamplingSpeed:
    """Median milliseconds for n samples, None where that would have taken over 15 s.

    Attributes:
        n: rows of a call.
        passes_ms: the teacher, whose nets run whole for each column: D passes.
        stepping_ms: the teacher as it samples, one column at a time.
        student_ms: the student.
    """

    n: int
    passes_ms: float | None
    stepping_ms: float | None
    student_ms: float | None

    @property
    def words(self) -> list[str]:
        """A row of a table; what would take too long is empty."""
        times = (self.passes_ms, self.stepping_ms, self.student_ms)
        ratios = (self.passes_ratio, self.stepping_ratio)
        return [f"{self.n:,}", *(number(t, 2) for t in times), *(number(r, 1) for r in ratios)]

    @property
    def passes_ratio(self) -> float | None:
        """How many times as long as the student the teacher takes by D passes."""
        return _ratio(self.passes_ms, self.student_ms)

    @property
    def stepping_ratio(self) -> float | None:
        """How many times as long as the student the teacher takes by stepping."""
        return _ratio(self.stepping_ms, self.student_ms)

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        ratios = {"passes_ratio": self.passes_ratio, "stepping_ratio": self.stepping_ratio}
        return asdict(self) | ratios


@torch.no_grad()
def sampling_speed(
    student: Flow,
    teacher: Flow,
    contexts: Tensor | None = None,
    sizes: Sequence[int] = (1, 1000, 10_000),
    seconds: float = 1.0,
) -> list[SamplingSpeed]:
    """Times samples of so many rows, a line for each size, the smallest first.

    How long a way of sampling takes is predicted in passes of the teacher's density over as many
    rows: D passes take D of them, the others as many as they took at the size before.

    Args:
        student: put into eval mode, as the teacher is.
        teacher: an autoregressive flow; another one is timed as it is instead of in D passes.
        contexts: rows (N, *context), which are repeated as needed; None for flows that take none.
        sizes: rows of a call.
        seconds: to spend on repetitions of each way at each size.
    """
    if min(sizes) < 1:
        raise InputError(f"`sizes` {min(sizes)}: must be at least 1")
    ways = (by_passes(teacher.eval()), teacher, student.eval())
    # Passes of the density that each way takes.
    passes = [float(math.prod(teacher.base.event_shape)), 0.0, 0.0]
    speeds = []
    for n in sorted(sizes):
        density = median_seconds(_scoring(teacher, n, contexts), seconds)
        taken: list[float | None] = []
        for way, flow in enumerate(ways):
            short = density * passes[way] <= LONGEST
            taken.append(median_seconds(_sampling(flow, n, contexts), seconds) if short else None)
            if short and way:
                passes[way] = (taken[way] or 0.0) / density
        speeds.append(SamplingSpeed(n, *(None if t is None else 1e3 * t for t in taken)))
    return speeds


def by_passes(flow: Flow) -> Flow:
    """A copy that samples by running its causal nets whole at each position."""
    return _with_nets(flow, Rerun)


def _with_nets(flow: Flow, net_of: Callable[[Any], CausalNet]) -> Flow:
    """A copy of the flow whose causal nets are `net_of` the flow's own."""
    flow = copy.deepcopy(flow)
    for part in flow.modules():
        if isinstance(part, Autoregressive):
            part.net = net_of(part.net)
    return flow


def _sampling(flow: Flow, n: int, contexts: Tensor | None) -> Callable[[], object]:
    context = _first(contexts, n, flow)
    return lambda: flow.sample(n, context)


def _scoring(flow: Flow, n: int, contexts: Tensor | None) -> Callable[[], object]:
    context = _first(contexts, n, flow)
    density = flow.continuous()
    x = density.sample(1, None if context is None else context[:1])
    x = x.expand(n, *x.shape[1:]).contiguous()
    return lambda: density.log_prob(x, context)


def _first(contexts: Tensor | None, n: int, flow: Flow) -> Tensor | None:
    """The first n contexts, repeated where there are fewer, as the flow takes them."""
    if contexts is None:
        return None
    return contexts[torch.arange(n) % len(contexts)].to(flow.base.like)


def median_seconds(run: Callable[[], object], seconds: float = 0.0) -> float:
    """Median seconds of a run, after one that warms it up unless that took long already."""
    first = seconds_of(run)
    if first > LONGEST / 5:
        return first
    taken: list[float] = []
    while len(taken) < FEWEST or (sum(taken) < seconds and len(taken) < MOST):
        taken.append(seconds_of(run))
    return statistics.median(taken)


def _ratio(one: float | None, other: float | None) -> float | None:
    return None if one is None or other is None else one / other


def seconds_of(run: Callable[[], object]) -> float:
    """Seconds on the clock; an accelerator has finished its work before and after."""
    _wait()
    start = time.perf_counter()
    run()
    _wait()
    return time.perf_counter() - start


def _wait() -> None:
    if torch.accelerator.is_available():
        torch.accelerator.synchronize()


# --- sound ---------------------------------------------------------------------------------------

_NAIVE = 8  # samples that are timed where each runs the receptive field again
_STEPS = 800  # samples on which steps are timed


@dataclass(frozen=True)
class SamplingRate:
    """How fast sounds are drawn: `seconds` of them took `took` seconds, on a device in words."""

    who: str
    seconds: float
    took: float
    rate: int
    device: str = "cpu"

    @property
    def times_real(self) -> float:
        """Seconds of sound a second."""
        return self.seconds / self.took

    @property
    def words(self) -> list[str]:
        """A row of a table."""
        return [
            self.who,
            self.device,
            number(self.seconds, 2),
            number(self.took, 3),
            f"{self.times_real * self.rate:,.0f}",
            number(self.times_real, 3),
        ]

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "who": self.who,
            "seconds": self.seconds,
            "took": self.took,
            "device": self.device,
            "samples_per_second": self.times_real * self.rate,
            "times_real": self.times_real,
        }


@torch.no_grad()
def sampling_rates(
    teacher: Flow,
    student: Flow | None,
    rate: int,
    context: Tensor | None = None,
    length: int | None = None,
    batch: int = 1,
) -> list[SamplingRate]:
    """Rates of the teacher by reruns, by steps, and as it is, and of the student.

    Args:
        teacher: one autoregressive layer of a WaveNet, dressed or not.
        student: the one that samples in one pass; None leaves it out.
        rate: samples a second.
        context: of one clip (C, F), given to all of the batch; None for flows that take none.
        length: samples of each clip; by default a second of them.
        batch: clips at a time, whose samples count together.
    """
    length = length or rate
    rows = None if context is None else context[None].expand(batch, *context.shape)
    device = str(teacher.base.like.device)
    rates = []

    def add(who: str, samples: int, run: Callable[[], object]) -> None:
        seconds = batch * samples / rate
        rates.append(SamplingRate(who, seconds, median_seconds(run), rate, device))

    add("teacher, naive", _NAIVE, naively(teacher, rows, length, batch, _NAIVE))
    steps = min(length, _STEPS)
    add("teacher, queues", steps, _drawing(stepwise(teacher), rows, steps, batch))
    add("teacher, fastest", length, _drawing(teacher, rows, length, batch))
    if student is not None:
        add("student", length, _drawing(student, rows, length, batch))
    return rates


def naively(
    teacher: Flow, rows: Tensor | None, length: int, batch: int, samples: int
) -> Callable[[], None]:
    """A run that draws samples, each by running the net over a whole receptive field."""
    layer = cast(Autoregressive, parts_of(teacher.bijection)[0])
    net = Naive(cast(WaveNet, layer.net))
    reach = net.net.receptive_field
    longest = max(length, reach + samples * (FEWEST + 1))
    like = teacher.base.sample(batch, length=longest)
    features = None if rows is None else teacher.embed(rows.to(like))
    if net.net.frames is not None and features is not None and features.shape[-1] > 1:
        wanted = -(-like.shape[-1] // net.net.frames.hop)  # its frames are repeated
        features = features[..., torch.arange(wanted) % features.shape[-1]]
    state = net.start(like, features)
    state.samples.extend(like[..., :reach].permute(2, 0, 1).split(1))  # (1, B, 1) each
    value = like[..., :1]

    def run() -> None:
        nonlocal state
        for _ in range(samples):
            params, state = net.step(value, state)
            layer.elementwise.forward(value, params)

    return run


def stepwise(flow: Flow) -> Flow:
    """A copy that samples with queues alone, without compiled loops."""
    return _with_nets(flow, Stepwise)


def _drawing(flow: Flow, rows: Tensor | None, length: int, batch: int) -> Callable[[], object]:
    like = flow.base.like
    context = None if rows is None else rows.to(like)
    return lambda: flow.sample(batch, context, length=length)
