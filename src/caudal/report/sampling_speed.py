"""How long sampling takes: by a teacher in D passes, by a teacher in steps, by a student."""

import copy
import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor

from caudal.bijections import Autoregressive
from caudal.errors import InputError
from caudal.flow import Flow
from caudal.nets import CausalNet, Rerun

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
    def passes_ratio(self) -> float | None:
        """How many times as long as the student the teacher takes by D passes."""
        return _ratio(self.passes_ms, self.student_ms)

    @property
    def stepping_ratio(self) -> float | None:
        """How many times as long as the student the teacher takes by stepping."""
        return _ratio(self.stepping_ms, self.student_ms)

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "n": self.n,
            "passes_ms": self.passes_ms,
            "stepping_ms": self.stepping_ms,
            "student_ms": self.student_ms,
            "passes_ratio": self.passes_ratio,
            "stepping_ratio": self.stepping_ratio,
        }


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
    passes = [float(math.prod(teacher.base.event_shape)), 0.0, 0.0]  # of the density, each way
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
    flow = copy.deepcopy(flow)
    for layer in flow.modules():
        if isinstance(layer, Autoregressive):
            layer.net = Rerun(cast(CausalNet, layer.net))
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
