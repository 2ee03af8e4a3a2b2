"""Layer-by-layer distillation, for a student whose layers pair up with its teacher's."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from caudal.bijection import Bijection, Inverse, parts_of
from caudal.bijections import Autoregressive, BatchNorm
from caudal.flow import Flow

_HUBER = 1.0  # in standard deviations of noise: larger errors count linearly, not quadratically


class Pair(NamedTuple):
    """A student's layer, and the parts of the teacher that it replaces, listed from the noise."""

    student: Bijection
    teacher: tuple[Bijection, ...]


class Guide:
    """E_x sum_k |T_k^-1(S_k(z_k)) - z_k|^2 / 2, z_k the noise sides of the teacher's layers T_k.

    One parallel pass takes teacher samples x to the z_k on their way to the noise. Each layer S_k
    of the student learns the map of T_k from noise to data, but in one pass where T_k goes step by
    step. The error is measured in units of the noise, by Huber's loss. No gradient passes between
    layers.
    Reference: CaloFlow II (Krause, Shih, 2021), arXiv:2110.11377.

    Raises:
        ValueError: the layers do not pair up (see `pairs_up`).
    """

    def __init__(self, student: Flow, teacher: Flow) -> None:
        pairs = _pairs(student.bijection, teacher.bijection)
        if pairs is None:
            raise ValueError("the student's layers do not pair up with the teacher's")
        self.student, self.teacher, self.pairs = student, teacher, pairs

    def __call__(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """The mean over teacher samples x (B, *event): a scalar."""
        rows = self.teacher.embed(context)
        total = x.new_zeros(())
        for pair in reversed(self.pairs):
            with torch.no_grad():
                for part in reversed(pair.teacher):
                    x, _ = part.inverse(x, rows)
            if not isinstance(pair.teacher[-1], Autoregressive):
                continue
            back, _ = pair.student(x, self.student.embed(context))
            for part in reversed(pair.teacher):
                back, _ = part.inverse(back, rows)
            error = F.huber_loss(back, x, reduction="none", delta=_HUBER)
            total = total + error.flatten(1).sum(1).mean()
        return total


def pairs_up(student: Flow, teacher: Flow) -> bool:
    """Whether a student's layers correspond one to one to the teacher's."""
    return _pairs(student.bijection, teacher.bijection) is not None


def _pairs(student: Bijection, teacher: Bijection) -> list[Pair] | None:
    """Pairs from noise to data, with reorderings; a teacher's BatchNorm belongs to its layer."""
    ours, theirs = parts_of(student), _segments(parts_of(teacher))
    if len(ours) != len(theirs):
        return None
    pairs = [Pair(part, segment) for part, segment in zip(ours, theirs, strict=True)]
    return pairs if all(map(_fits, pairs)) else None


def _fits(pair: Pair) -> bool:
    theirs = pair.teacher[-1]
    if isinstance(theirs, Autoregressive):
        ours = pair.student
        return isinstance(ours, Inverse) and isinstance(ours.bijection, Autoregressive)
    if type(theirs) is not type(pair.student) or len(pair.teacher) > 1:
        return False
    state, other = theirs.state_dict(), pair.student.state_dict()
    return state.keys() == other.keys() and all(torch.equal(state[k], other[k]) for k in state)


def _segments(parts: list[Bijection]) -> list[tuple[Bijection, ...]]:
    segments: list[tuple[Bijection, ...]] = []
    norms: tuple[Bijection, ...] = ()
    for part in parts:
        if isinstance(part, BatchNorm):
            norms = (*norms, part)
        else:
            segments.append((*norms, part))
            norms = ()
    return segments
