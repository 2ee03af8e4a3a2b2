"""A student beside its teacher: what is measured, and what that means."""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from caudal.flow import Flow
from caudal.report.fidelity import Fidelity, measure
from caudal.report.items import noise
from caudal.report.numbers import a, number, plus_minus
from caudal.report.speed import SPEED_HEAD, SamplingSpeed, sampling_speed

ROWS, SIZES = 10_000, (1, 1000, 10_000)
"""How many vectors are drawn for measuring, and the sizes of calls that are timed."""
IMAGES, NUMBERS, IMAGE_SIZES = 1000, 1 << 20, (1, 10, 100)
"""How many images, and pixels in all of them, are drawn at most; sizes that are timed."""
SHOWN = 5000  # rows that are drawn for pictures
WORST = 3  # columns that are named
HEAVY = 0.7  # Pareto k from which PSIS no longer relies on a mean of weights
MISSES = 0.01  # share of the teacher's samples
TWICE = 2.0  # ratio of the divergences; small ones are nearly equal both ways
TAME = 0.2  # effective share from which weights are even, where the student draws at all
NOTICED = 0.3  # nats a sample
GOOD, USABLE = 0.9, 0.1  # effective shares


class ScreenTable(NamedTuple):
    """A table for the screen and the page; `looks` has an "n" for each column of numbers."""

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    looks: str


@dataclass(frozen=True)
class Distilled(ABC):
    """How a student compares to its teacher.

    Attributes:
        teacher: its run.
        terms: what the student minimised, in words.
    """

    teacher: str
    terms: tuple[str, ...]

    def __repr__(self) -> str:
        value, what, unit = self.headline
        return f"{type(self).__name__}({what} {value} {unit}, beside {self.teacher})"

    @property
    @abstractmethod
    def verdict(self) -> list[str]:
        """What to think of the student, a line each."""

    @property
    @abstractmethod
    def caption(self) -> str:
        """On what they were compared, in a sentence."""

    @property
    @abstractmethod
    def headline(self) -> tuple[str, str, str]:
        """The most important number, what it is, and its unit."""

    @abstractmethod
    def tables(self) -> list[ScreenTable]:
        """All numbers."""

    @abstractmethod
    def measures(self) -> dict[str, Any]:
        """All numbers by name, for JSON."""

    def to_dict(self) -> dict[str, Any]:
        """The content of compare.json."""
        words = {"teacher": self.teacher, "terms": list(self.terms), "verdict": self.verdict}
        return words | self.measures()


class Samples(NamedTuple):
    """As many samples of a teacher as of its student (N, *event), and their contexts."""

    teacher: Tensor
    student: Tensor
    context: Tensor | None


@dataclass(frozen=True, repr=False)
class DistilledRows(Distilled):
    """How a student compares to its teacher by density and by samples.

    Attributes:
        fidelity: how far it is from the teacher.
        speeds: how long samples take.
        samples: of both, in the units of the data.
        one: what a sample is called.
    """

    fidelity: Fidelity
    speeds: tuple[SamplingSpeed, ...]
    samples: Samples
    one: str = "row"

    @property
    def verdict(self) -> list[str]:
        return verdict(self.fidelity)

    @property
    def caption(self) -> str:
        return f"{self.fidelity.n:,} samples of each."

    @property
    def headline(self) -> tuple[str, str, str]:
        kl = plus_minus(self.fidelity.reverse_kl, self.fidelity.reverse_two_se)
        return kl, "KL(student||teacher)", f"nats {a(self.one)}"

    def tables(self) -> list[ScreenTable]:
        title = f"Student beside {self.teacher}, {self.fidelity.n:,} samples of each"
        speeds = "Milliseconds to sample, medians, on this machine"
        rows = fidelity_rows(self.fidelity, self.one)
        return [
            ScreenTable(title, ["", "", ""], rows, " n "),
            ScreenTable(speeds, SPEED_HEAD, [speed.words for speed in self.speeds], "nnnnnn"),
        ]

    def measures(self) -> dict[str, Any]:
        speeds = [speed.to_dict() for speed in self.speeds]
        return self.fidelity.to_dict() | {"speed": speeds}


def compare_students(
    student: Flow,
    teacher: Flow,
    schema: Any,
    contexts: Tensor | None,
    *,
    name: str,
    terms: Sequence[str],
    seed: int = 0,
) -> DistilledRows:
    """Measures a student of tables or images against its teacher.

    Args:
        student: put into eval mode, as the teacher is.
        teacher: of the same rows and contexts.
        schema: of the data.
        contexts: rows to draw contexts from; None for flows that take none.
        name: of the teacher's run.
        terms: what the student minimised, in words.
        seed: of all that is drawn.
    """
    shape = teacher.event_shape
    vectors = len(shape) == 1
    images = max(4, min(IMAGES, NUMBERS // math.prod(shape)))
    names = [column.name for column in schema.columns] if vectors else pixel_names(shape)
    sizes = SIZES if vectors else IMAGE_SIZES
    measured = ROWS if vectors else images
    shown = SHOWN if vectors else images
    return DistilledRows(
        name,
        tuple(terms),
        measure(student, teacher, contexts, n=measured, seed=seed, names=names),
        tuple(sampling_speed(student, teacher, contexts, sizes)),
        draw_samples(student, teacher, contexts, shown, seed),
        schema.one,
    )


def pixel_names(shape: Sequence[int]) -> list[str]:
    """Names of the pixels of images (C, H, W), in the order of their elements."""
    channels, height, width = shape
    places = [(r, c) for r in range(height) for c in range(width)]
    prefixes = [""] if channels == 1 else [f"channel {i} " for i in range(channels)]
    return [f"{prefix}row {r} column {c}" for prefix in prefixes for r, c in places]


@torch.no_grad()
def draw_samples(
    student: Flow, teacher: Flow, contexts: Tensor | None, n: int, seed: int = 0
) -> Samples:
    """N samples of each, on the CPU; both are given the same contexts, one after the other."""
    context = None if contexts is None else contexts[torch.arange(n) % len(contexts)]
    drawn = []
    for which, flow in enumerate((teacher, student)):
        rows = None if context is None else context.to(flow.base.like)
        drawn.append(flow.eval().sample(n, rows, generator=noise(flow, seed + which)).cpu())
    return Samples(drawn[0], drawn[1], None if context is None else context.cpu())


# --- tables --------------------------------------------------------------------------------------


def fidelity_rows(f: Fidelity, one: str = "row") -> list[list[str]]:
    """Name, value and meaning of each measure."""
    reverse, forward = (
        f"nats {a(one)}, {value:.4f} a number: "
        for value in (f.reverse_kl_per_dim, f.forward_kl_per_dim)
    )
    reverse_kl = plus_minus(f.reverse_kl, f.reverse_two_se)
    forward_kl = plus_minus(f.forward_kl, f.forward_two_se)
    worst = ", ".join(f"{name} {distance:.3f}" for name, distance in f.ks[:WORST])
    parts = "columns" if one == "row" else "pixels"
    auc = f"{f.auc:.3f} ± {2 * f.auc_se:.3f}"
    tail = "tail of those weights; above 0.7 they are unreliable"
    return [
        ["KL(student||teacher)", reverse_kl, reverse + "what it draws and should not"],
        ["KL(teacher||student)", forward_kl, forward + "what it should draw and does not"],
        ["effective size", f"{f.ess:.1%}", "of student samples weighted to be the teacher's"],
        ["Pareto k", number(f.pareto_k, 2), tail],
        ["missed", f"{f.missed:.2%}", "of teacher samples, whose density is 5 nats too low"],
        ["classifier AUC", auc, "telling the two apart; 0.5 cannot"],
        [f"worst {parts}", worst, "Kolmogorov-Smirnov distance"],
    ]


# --- the verdict ---------------------------------------------------------------------------------


def verdict(f: Fidelity) -> list[str]:
    """What is wrong with a student and what to try, else what it is good for; a line each."""
    reverse, forward = _nats(f.reverse_kl), _nats(f.forward_kl)
    misses = f.missed > MISSES and f.forward_kl > TWICE * f.reverse_kl
    heavy, faults = f.pareto_k > HEAVY, []
    if misses:
        # Where whole modes are missing, the weights of what is drawn are even, as the student fits
        # the other modes. Where it is too narrow, weights grow from the middle outwards.
        dropped = f.ess >= TAME and not heavy
        faults.append(
            f"{'dropped modes' if dropped else 'collapsed, too narrow'}: it hardly ever draws "
            f"{f.missed:.1%} of the teacher's samples (forward KL {forward} nats, reverse "
            f"{reverse}); train it on the teacher's samples (forward KL) as well"
            f"{'' if dropped else ', or at a lower learning rate'}"
        )
    elif heavy:
        faults.append(
            f"heavy weights: Pareto k {number(f.pareto_k, 2)} > {HEAVY}, as its tails are too "
            f"light in places, so weighted and corrected samples are not reliable; train it "
            f"longer with some forward KL, or with more layers"
        )
    if f.reverse_kl > max(NOTICED, TWICE * f.forward_kl):
        faults.append(
            f"too wide: it draws samples that the teacher hardly ever draws (reverse KL "
            f"{reverse} nats, forward {forward}); train it longer, with more weight on the "
            f"reverse KL, or correct its samples (`exact`)"
        )
    if f.forward_kl == math.inf and not misses:
        faults.append(
            "zero density: some samples of the teacher have density 0 under the student, which "
            "makes the forward KL infinite; check that both have the same supports, or train it "
            "in float64"
        )
    return faults or [_use(f)]


def _use(f: Fidelity) -> str:
    """What a student without a fault is good for."""
    apart = f.auc - 2 * f.auc_se > 0.5
    facts = (
        f"reverse KL {_nats(f.reverse_kl)} nats, effective size {f.ess:.0%}, "
        f"AUC {number(f.auc)} ± {number(2 * f.auc_se)}"
    )
    if f.ess >= GOOD and not apart:
        return f"good: {facts}; its samples can stand for the teacher's, as they are"
    if f.ess >= USABLE:
        seen = "a classifier tells them apart" if apart else "no classifier told them apart"
        link = "and" if apart else "but"
        return (
            f"good as a proposal: {facts}; {seen}, {link} the weights are uneven: use its samples "
            f"as they are, and corrected (`exact`) where the exact density matters"
        )
    return f"not there yet: {facts}; train it longer, or with more layers"


def _nats(value: float) -> str:
    return number(round(value, 3) + 0.0)  # an estimate of 0 is not -0.000
