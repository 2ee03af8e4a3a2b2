"""Sound of a flow piece by piece, as it is made: to be heard before all of it is there."""

from collections.abc import Iterator
from functools import singledispatch

import torch
from torch import Tensor

from caudal.bijection import Bijection, Chain, Inverse, parts_of, recut
from caudal.bijections import Autoregressive, LinearPrediction, MuLaw, Rescale, Standardise
from caudal.flow import Flow

PIECE = 1024
"""Samples of a piece. Pieces of this size are computed as they are within the whole clip."""


@torch.no_grad()
def stream(flow: Flow, z: Tensor, context: Tensor | None = None) -> Iterator[Tensor]:
    """The clips x (B, 1, T) that a flow makes of noise z (B, 1, T), in pieces (B, 1, n).

    Together they are `flow.decode(z, context)`, to the bit. A layer that samples one position at a
    time, or runs causally over its noise, hands pieces on as they are made; so does the linear
    prediction. Any other part waits for all of them.

    Args:
        flow: in evaluation mode, of sound.
        z: noise, as `flow.base.sample` draws it.
        context: (B, C, F), all of it.
    """
    pieces = iter([z])
    pieces = _through(flow.bijection, pieces, flow.embed(context), z.shape[-1])
    for x in recut(pieces, PIECE):
        yield x if flow.dequantization is None else flow.dequantization.lower(x)


@singledispatch
def _through(
    part: Bijection, pieces: Iterator[Tensor], context: Tensor | None, length: int
) -> Iterator[Tensor]:
    """The output of a part, in pieces, of an input of `length` samples in pieces."""
    yield part(torch.cat(list(pieces), -1), context)[0]


@_through.register
def _(
    part: Chain, pieces: Iterator[Tensor], context: Tensor | None, length: int
) -> Iterator[Tensor]:
    for each in parts_of(part):
        pieces = _through(each, pieces, context, length)
    return pieces


@_through.register(MuLaw)
@_through.register(Rescale)
@_through.register(Standardise)
def _(
    part: Bijection, pieces: Iterator[Tensor], context: Tensor | None, length: int
) -> Iterator[Tensor]:
    return (part(piece, context)[0] for piece in recut(pieces, PIECE))


@_through.register
def _(
    part: Autoregressive, pieces: Iterator[Tensor], context: Tensor | None, length: int
) -> Iterator[Tensor]:
    return part.forward_in_pieces(torch.cat(list(pieces), -1), context)


@_through.register
def _(
    part: Inverse, pieces: Iterator[Tensor], context: Tensor | None, length: int
) -> Iterator[Tensor]:
    if isinstance(part.bijection, Autoregressive):
        return part.bijection.inverse_in_pieces(pieces, context, length)
    return iter([part(torch.cat(list(pieces), -1), context)[0]])


@_through.register
def _(
    part: LinearPrediction, pieces: Iterator[Tensor], context: Tensor | None, length: int
) -> Iterator[Tensor]:
    return part.in_pieces(pieces, context, length)
