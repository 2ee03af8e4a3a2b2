"""Layer-by-layer distillation, for a student whose layers pair up with its teacher's."""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from caudal.bijection import Bijection, Inverse, Within, parts_of
from caudal.bijections import Autoregressive, BatchNorm
from caudal.flow import Flow

_HUBER = 1.0  # in standard deviations of noise: larger errors count linearly, not quadratically


class Pair(NamedTuple):
    """A student's layer, and the parts of the teacher that it replaces, listed from the noise."""

    student: Bijection
    teacher: tuple[Bijection, ...]


class Viewed(NamedTuple):
    """Pairs within a view that student and teacher have in common, such as patches."""

    view: Within
    pairs: "list[Pair | Viewed]"


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
        contexts = self.student.embed(context), self.teacher.embed(context)
        return _guided(self.pairs, x, *contexts)[1]


def _guided(
    pairs: list[Pair | Viewed], x: Tensor, ours: Tensor | None, theirs: Tensor | None
) -> tuple[Tensor, Tensor]:
    """The noise that samples x of the teacher come from, and the sum of the layers' errors.

    `ours` is the context as the student takes it, `theirs` as the teacher does.
    """
    total = x.new_zeros(())
    for pair in reversed(pairs):
        if isinstance(pair, Viewed):
            taken, error = _guided(pair.pairs, pair.view.take(x), ours, theirs)
            x, total = pair.view.put(taken, x), total + error
            continue
        with torch.no_grad():
            for part in reversed(pair.teacher):
                x, _ = part.inverse(x, theirs)
        if not isinstance(pair.teacher[-1], Autoregressive):
            continue
        back, _ = pair.student(x, ours)
        for part in reversed(pair.teacher):
            back, _ = part.inverse(back, theirs)
        error = F.huber_loss(back, x, reduction="none", delta=_HUBER).flatten(1).sum(1).mean()
        total = total + error
    return x, total


def pairs_up(student: Flow, teacher: Flow) -> bool:
    """Whether a student's layers correspond one to one to the teacher's."""
    return _pairs(student.bijection, teacher.bijection) is not None


def _pairs(student: Bijection, teacher: Bijection) -> list[Pair | Viewed] | None:
    """Pairs from noise to data, with reorderings; a teacher's BatchNorm belongs to its layer."""
    ours, theirs = parts_of(student), _segments(parts_of(teacher))
    if len(ours) != len(theirs):
        return None
    pairs = [_pair(part, segment) for part, segment in zip(ours, theirs, strict=True)]
    fitting = [pair for pair in pairs if pair is not None]
    return fitting if len(fitting) == len(pairs) else None


def _pair(ours: Bijection, segment: tuple[Bijection, ...]) -> Pair | Viewed | None:
    """A layer and its counterpart, in the same view where it is in one; None if they differ."""
    theirs = segment[-1]
    if isinstance(ours, Within) and isinstance(theirs, Within) and len(segment) == 1:
        within = _pairs(ours.bijection, theirs.bijection) if _same_view(ours, theirs) else None
        return None if within is None else Viewed(ours, within)
    pair = Pair(ours, segment)
    return pair if _fits(pair) else None


def _same_view(ours: Within, theirs: Within) -> bool:
    """Whether two views take the same elements, and learn nothing by themselves."""
    if type(ours) is not type(theirs):
        return False
    fixed = all(
        [*dict(view.named_children())] == ["bijection"] and not [*view.parameters(recurse=False)]
        for view in (ours, theirs)
    )
    return fixed and _equal(_settings(ours), _settings(theirs))


def _settings(view: Within) -> dict[str, object]:
    """What a view was made with, and its own buffers, which may say what it takes."""
    plain = {n: v for n, v in vars(view).items() if not n.startswith("_") and n != "training"}
    return plain | dict(view.named_buffers(recurse=False))


def _equal(ours: Mapping[str, object], theirs: Mapping[str, object]) -> bool:
    """Whether settings or states are the same, tensors by their values."""

    def same(a: object, b: object) -> bool:
        if isinstance(a, Tensor) and isinstance(b, Tensor):
            return torch.equal(a, b)
        return not isinstance(a, Tensor) and not isinstance(b, Tensor) and a == b

    return ours.keys() == theirs.keys() and all(same(ours[k], theirs[k]) for k in ours)


def _fits(pair: Pair) -> bool:
    theirs = pair.teacher[-1]
    if isinstance(theirs, Autoregressive):
        ours = pair.student
        return isinstance(ours, Inverse) and isinstance(ours.bijection, Autoregressive)
    if type(theirs) is not type(pair.student) or len(pair.teacher) > 1:
        return False
    return _equal(theirs.state_dict(), pair.student.state_dict())


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
