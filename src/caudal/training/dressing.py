"""What stands between a flow and the user's rows, taken off and put on another flow."""

import torch
from torch import nn

from caudal.base import FREE
from caudal.bijection import Bijection, Chain, parts_of
from caudal.bijections import Logit, Rescale, Standardise, Support
from caudal.errors import InputError
from caudal.flow import Flow

_DRESSING = (Standardise, Support, Logit, Rescale)


def undressed(flow: Flow) -> Flow:
    """The flow without its dequantisation, its embedding and the fixed maps next to the data.

    It shares the modules of the flow. Its events are rows as they come out of the dressing
    (continuous, unbounded, standardised), its contexts what comes out of the embedding.
    """
    parts, _ = _split(flow)
    bare = parts[0] if len(parts) == 1 else Chain(parts)
    shape = flow.context_shape
    if isinstance(bare, Chain) and len(bare.parts) == 1:  # a recipe's own chain of one
        bare = parts_of(bare)[0]
    if shape is not None and flow.embedding is not None:
        example = flow.base.like.new_zeros(1, *(1 if n == FREE else n for n in shape))
        found = tuple(flow.embedding(example).shape[1:])
        shape = (*found[:-1], FREE) if shape[-1] == FREE else found
    bare_flow = Flow(bare, flow.base, context_shape=shape)
    return bare_flow.train(flow.training)


def dressing_of(flow: Flow) -> list[Bijection]:
    """The fixed maps next to the data that `undressed` takes off, from the noise to the data."""
    return _split(flow)[1]


def dress_as(flow: Flow, model: Flow) -> None:
    """Gives a flow that was assembled for the same table the statistics of another.

    Raises:
        InputError: they are not dressed alike.
    """
    theirs, ours = _dressing(model), _dressing(flow)
    if [type(part) for part in ours] != [type(part) for part in theirs]:
        raise InputError("teacher and student are not dressed alike: build both for one table")
    for part, given in zip(ours, theirs, strict=True):
        part.load_state_dict(given.state_dict())


def check_dressed_alike(flow: Flow, model: Flow) -> None:
    """Refuses two flows whose densities are not over the same rows.

    Raises:
        InputError: their events, contexts or dressings differ.
    """
    for name in ("event_shape", "context_shape"):
        if getattr(flow, name) != getattr(model, name):
            shapes = f"{getattr(flow, name)}, not the teacher's {getattr(model, name)}"
            raise InputError(f"the student's {name.replace('_', ' ')} is {shapes}")
    theirs, ours = _dressing(model), _dressing(flow)
    same = [type(part) for part in ours] == [type(part) for part in theirs] and all(
        torch.equal(a, b)
        for part, given in zip(ours, theirs, strict=True)
        for a, b in zip(part.state_dict().values(), given.state_dict().values(), strict=True)
    )
    if not same:
        raise InputError("student and teacher standardise or bound their rows differently")


def _dressing(flow: Flow) -> list[nn.Module]:
    others = (flow.dequantization, flow.embedding)
    return [*_split(flow)[1], *(part for part in others if part is not None)]


def _split(flow: Flow) -> tuple[list[Bijection], list[Bijection]]:
    """The parts of a flow that learn, at least one, and the fixed ones next to the data."""
    parts = parts_of(flow.bijection)
    end = len(parts)
    while end > 1 and isinstance(parts[end - 1], _DRESSING):
        end -= 1
    return parts[:end], parts[end:]
