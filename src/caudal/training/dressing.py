"""The dressing of a flow: taken off, compared with that of another flow, and copied from it.

The dressing stands between the part of a flow that learns and the user's rows: dequantisation,
embedding, and the fixed maps next to the data.
"""

import math
from collections.abc import Iterator
from typing import cast

import torch
from torch import nn

from caudal.base import FREE
from caudal.bijection import Bijection, Chain, parts_of
from caudal.bijections import (
    Flattened,
    Gaussianise,
    Latitude,
    Logit,
    Prediction,
    Rescale,
    Standardise,
    Support,
)
from caudal.errors import InputError
from caudal.flow import Flow

_FIXED = (Gaussianise, Latitude, Prediction, Standardise, Support, Logit, Rescale)


def undressed(flow: Flow) -> Flow:
    """The flow without its dequantisation, its embedding and the fixed maps next to the data.

    It shares the modules of the flow. Its events are rows as they come out of the dressing
    (continuous, unbounded, standardised), its contexts come out of the embedding.
    """
    parts, _ = _split(flow)
    bare = parts[0] if len(parts) == 1 else Chain(parts)
    shape = flow.context_shape
    if isinstance(bare, Chain) and len(bare.parts) == 1:  # a recipe's own chain of one
        bare = parts_of(bare)[0]
    if shape is not None and flow.embedding is not None:
        example = flow.base.like.new_zeros(1, *(1 if n == FREE else n for n in shape))
        embedded = tuple(flow.embedding(example).shape[1:])
        shape = (*embedded[:-1], FREE) if shape[-1] == FREE else embedded
    return Flow(bare, flow.base, context_shape=shape).train(flow.training)


def undressed_pair(student: Flow, teacher: Flow) -> tuple[Flow, Flow]:
    """Both flows without their dressing, over the same events.

    Where both see larger events as vectors only, their events are these vectors, standardised: so
    their layers can be compared one by one.
    """
    ours, theirs = undressed(student), undressed(teacher)
    if _is_flattened(ours) and _is_flattened(theirs):
        return undressed(_of_vectors(ours)), undressed(_of_vectors(theirs))
    return ours, theirs


def dressing_of(flow: Flow) -> list[Bijection]:
    """The fixed maps next to the data that `undressed` takes off, from the noise to the data."""
    return _split(flow)[1]


def dress_as(flow: Flow, model: Flow) -> None:
    """Copies the statistics of another flow's dressing.

    Raises:
        InputError: the two flows are dressed in different ways.
    """
    _check_shapes(flow, model)
    ours, theirs = _dressings(flow, model)
    if [type(part) for part in ours] != [type(part) for part in theirs]:
        raise InputError(
            "student and teacher are not dressed alike: build both for one schema, or "
            "both with, or without, `standardise`"
        )
    for part, source in zip(ours, theirs, strict=True):
        part.load_state_dict(source.state_dict())


def check_dressed_alike(flow: Flow, model: Flow) -> None:
    """Refuses two flows whose densities are not over the same rows.

    Raises:
        InputError: their events, contexts or dressings differ.
    """
    _check_shapes(flow, model)
    ours, theirs = _dressings(flow, model)
    same = [type(part) for part in ours] == [type(part) for part in theirs] and all(
        torch.equal(a, b)
        for part, source in zip(ours, theirs, strict=True)
        for a, b in zip(part.state_dict().values(), source.state_dict().values(), strict=True)
    )
    if not same:
        raise InputError("student and teacher standardise or bound their rows differently")


def _check_shapes(flow: Flow, model: Flow) -> None:
    for name in ("event_shape", "context_shape"):
        if getattr(flow, name) != getattr(model, name):
            shapes = f"{getattr(flow, name)}, not the teacher's {getattr(model, name)}"
            raise InputError(f"the student's {name.replace('_', ' ')} is {shapes}")


def _dressings(flow: Flow, model: Flow) -> Iterator[list[nn.Module]]:
    """The modules of the dressing of two flows, as far as both wear it."""
    bare = undressed(flow), undressed(model)
    inside = all(map(_is_flattened, bare))
    for whole, part in zip((flow, model), bare, strict=True):
        within = dressing_of(_of_vectors(part)) if inside else []
        others = [module for module in (whole.dequantization, whole.embedding) if module]
        yield [*within, *dressing_of(whole), *others]


def _is_flattened(flow: Flow) -> bool:
    """Whether a flow sees its events, such as images, as vectors only."""
    return isinstance(flow.bijection, Flattened)


def _of_vectors(flow: Flow) -> Flow:
    """A flattened flow as a flow over vectors, of which it shares the bijection."""
    base = flow.base.reshaped((math.prod(flow.base.event_shape),))
    inner = cast(Flattened, flow.bijection).bijection
    return Flow(inner, base, context_shape=flow.context_shape).train(flow.training)


def _split(flow: Flow) -> tuple[list[Bijection], list[Bijection]]:
    """The parts of a flow that learn, at least one, and the fixed ones next to the data."""
    parts = parts_of(flow.bijection)
    end = len(parts)
    while end > 1 and isinstance(parts[end - 1], _FIXED):
        end -= 1
    return parts[:end], parts[end:]
