"""How fast a WaveNet and a student of it make sound, in every way there is."""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor

from caudal.bijection import parts_of
from caudal.bijections import Autoregressive
from caudal.flow import Flow
from caudal.nets import Naive, Stepwise, WaveNet
from caudal.report.numbers import number
from caudal.report.sampling_speed import FEWEST, median_seconds

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
        student: that samples in one pass; None leaves it out.
        rate: samples a second.
        context: of one clip (C, F), given to all of the batch; None for flows that take none.
        length: samples of each clip; by default a second of them.
        batch: clips at a time, whose samples count together.
    """
    length = length or rate
    rows = None if context is None else context[None].expand(batch, *context.shape)
    device = teacher.base.like.device
    rates = []

    def add(who: str, samples: int, took: float) -> None:
        rates.append(SamplingRate(who, batch * samples / rate, took, rate, str(device)))

    add("teacher, naive", _NAIVE, naive_seconds(teacher, rows, length, batch, _NAIVE))
    steps = min(length, _STEPS)
    stepping = stepwise(teacher)
    add("teacher, queues", steps, median_seconds(_drawing(stepping, rows, steps, batch)))
    add("teacher, fastest", length, median_seconds(_drawing(teacher, rows, length, batch)))
    if student is not None:
        add("student", length, median_seconds(_drawing(student, rows, length, batch)))
    return rates


def naive_seconds(
    teacher: Flow, rows: Tensor | None, length: int, batch: int, samples: int
) -> float:
    """Seconds for so many samples when each runs the receptive field before it again."""
    return median_seconds(naively(teacher, rows, length, batch, samples))


def naively(
    teacher: Flow, rows: Tensor | None, length: int, batch: int, samples: int
) -> Callable[[], None]:
    """A run that draws so many samples after a receptive field, which it runs for each of them."""
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
    flow = copy.deepcopy(flow)
    for part in flow.modules():
        if isinstance(part, Autoregressive):
            part.net = Stepwise(cast(WaveNet, part.net))
    return flow


def _drawing(flow: Flow, rows: Tensor | None, length: int, batch: int) -> Callable[[], object]:
    like = flow.base.like
    context = None if rows is None else rows.to(like)
    return lambda: flow.sample(batch, context, length=length)
