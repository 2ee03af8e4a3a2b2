"""Layer by layer: a student that pairs up with its teacher learns each of its maps by itself."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from caudal.bijection import Bijection, Inverse, parts_of
from caudal.bijections import Autoregressive, BatchNorm
from caudal.flow import Flow

_HUBER = 1.0  # standard deviations of noise: beyond, an error counts by its size, not its square


class Pair(NamedTuple):
    """A student's layer, and the teacher's parts that it stands for, listed from the noise."""

    student: Bijection
    teacher: tuple[Bijection, ...]


class Guide:
    """E_x sum_k |T_k^-1(S_k(z_k)) - z_k|^2 / 2, z_k the noise sides of the teacher's layers T_k.

    The z_k are what teacher samples x become on their way to the noise, one parallel pass. Each
    layer S_k of the student shall do what T_k does from noise to data, in one pass where T_k goes
    step by step; the error is told in the noise's own units, Huber's where it is large. No
    gradient goes from layer to layer.
    Reference: CaloFlow II (Krause, Shih, 2021), arXiv:2110.11377.

    Raises:
        ValueError: the layers do not pair up; `pairs_up` tells before.
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
            back, _ = pair.student.forward(x, self.student.embed(context))
            for part in reversed(pair.teacher):
                back, _ = part.inverse(back, rows)
            error = F.huber_loss(back, x, reduction="none", delta=_HUBER)
            total = total + error.flatten(1).sum(1).mean()
        return total


def pairs_up(student: Flow, teacher: Flow) -> bool:
    """Whether a student's layers stand one to one for the teacher's."""
    return _pairs(student.bijection, teacher.bijection) is not None


def _pairs(student: Bijection, teacher: Bijection) -> list[Pair] | None:
    """Pairs from noise to data, reorderings too; a teacher's BatchNorm goes with its layer."""
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
