"""What training needs of its rows, beyond going through them."""

import hashlib
from typing import Any

import numpy as np
import torch
from torch import Tensor

from caudal.bijections import ZCA
from caudal.data.source import Batch, Rows, Source, permutation
from caudal.errors import InputError
from caudal.flow import Flow
from caudal.training.seeds import SAMPLE, SPLIT, mix

Array = Tensor | np.ndarray
Given = Source | Array | tuple[Array, Array]
"""Rows as a user has them: a source, x (N, *event), or x with its context (N, C)."""

_WHOLE = 1_000_000  # rows; MAF's rule asks for all of them, and up to here that is cheap
_SUBSET = 100_000  # rows, which estimate a mean to 1/300 of a standard deviation
_FEW = 256  # rows, Glow's first batch; each pixel of an image is a sample of its channel's moments
_NUMBERS_TO_START, _NUMBERS_TO_CALIBRATE = 1 << 22, 1 << 24  # where events are large
_TO_WHITEN = 10  # rows for each number of an event, from which on they give its covariance
_RESIDENT = 2 << 30  # bytes that may move to the accelerator once and for all


def as_source(given: Given, flow: Flow) -> Source:
    """Tensors and arrays become rows in memory; NaN is a gap where the flow models gaps.

    Images of 8 bits keep to them until they are needed.

    Raises:
        InputError: something else was given, or arrays of something else than numbers.
    """
    if isinstance(given, Source):
        return given
    pair = given if isinstance(given, tuple) and len(given) == 2 else (given, None)
    x, context = (None if part is None else _as_tensor(part, flow) for part in pair)
    if x is None:
        raise _no_rows(None)
    return Rows(x, context, gaps=flow.dequantization is not None)


def _as_tensor(given: Any, flow: Flow) -> Tensor:
    if isinstance(given, Tensor):
        return given
    if not isinstance(given, np.ndarray) or given.dtype.kind not in "biuf":
        raise _no_rows(given)
    if given.dtype == np.uint8 and given.ndim == 4:
        return torch.from_numpy(given)
    return torch.from_numpy(np.array(given, np.float64)).to(flow.base.like.dtype)


def _no_rows(given: Any) -> InputError:
    what = f"array of {given.dtype}" if isinstance(given, np.ndarray) else type(given).__name__
    return InputError(
        f"cannot train on rows given as {what}: give a tensor or a NumPy array of numbers "
        f"(N, ...), a pair (x, context) of them, or a Source"
    )


def hold_out(source: Source, seed: int, share: float = 0.1) -> tuple[Source, Source]:
    """Splits rows in memory at random in training and validation rows.

    Raises:
        InputError: the rows are streamed, or too few to split.
    """
    if not isinstance(source, Rows):
        raise InputError("give validation rows: only rows in memory are split here")
    cut = round(share * source.n_rows)
    if cut < 1:
        raise InputError(f"{source.n_rows} rows are too few to hold a tenth out for validation")
    order = permutation(source.n_rows, mix(seed, SPLIT)).to(source.x.device)
    return _pick(source, order[cut:]), _pick(source, order[:cut])


def sample_rows(source: Source, most: int, seed: int) -> Batch:
    """All rows if at most `most`, else that many at random, the same ones each time."""
    if source.n_rows > most:
        return next(source.shuffled(most, mix(seed, SAMPLE)))
    if isinstance(source, Rows):
        return Batch(source.x, source.context)
    batches = list(source.ordered(8192))
    contexts = [batch.context for batch in batches if batch.context is not None]
    x = torch.cat([batch.x for batch in batches])
    return Batch(x, torch.cat(contexts) if contexts else None)


def calibration_rows(source: Source, seed: int) -> Batch:
    """Rows whose moments stand for those of the training set.

    All of them when they are in memory and at most a million; else a fixed random 100,000. Of
    images and clips, whose numbers are samples too, as many as hold 16 million of them.
    """
    whole = isinstance(source, Rows) and source.n_rows <= _WHOLE
    most = _WHOLE if whole else _SUBSET
    return sample_rows(source, within(source, most, _NUMBERS_TO_CALIBRATE), seed)


def initial_rows(source: Source, seed: int, flow: Flow) -> Batch:
    """Rows for data-dependent initialisation, at most 100,000; many more where it whitens."""
    whitened = [part.mean.numel() for part in flow.modules() if isinstance(part, ZCA)]
    numbers = max([_NUMBERS_TO_START, *(_TO_WHITEN * size**2 for size in whitened)])
    return sample_rows(source, within(source, _SUBSET, numbers), seed)


def within(source: Source, most: int, numbers: int) -> int:
    """How many images or clips hold so many numbers, at least 256; of vectors `most` rows."""
    if source.row_numbers is None:
        return most
    return min(most, max(_FEW, numbers // source.row_numbers))


def place(batch: Batch, like: Tensor) -> Batch:
    """The batch on the device and in the precision of `like`."""
    context = batch.context
    return Batch(batch.x.to(like), None if context is None else context.to(like))


def resident(source: Source, like: Tensor) -> Source:
    """Rows in memory that fit move to the accelerator at once, not batch by batch.

    Bytes stay bytes there, and become numbers a batch at a time.
    """
    if like.device.type == "cpu" or not isinstance(source, Rows):
        return source
    compact = source.x.dtype == torch.uint8
    x_size = source.x.numel() * (1 if compact else like.element_size())
    context_size = 0 if source.context is None else source.context.numel() * like.element_size()
    if x_size + context_size > _RESIDENT:
        return source
    x, context = source.x, source.context
    x = x.to(like.device) if compact else x.to(like)
    return Rows(x, None if context is None else context.to(like), gaps=True)


def share(batch: Batch, rank: int, world: int) -> Batch:
    """The rows of a batch that one of `world` processes works on."""
    if world == 1:
        return batch
    context = None if batch.context is None else batch.context[rank::world]
    return Batch(batch.x[rank::world], context)


def fingerprint(source: Source) -> dict[str, Any]:
    """The number of rows and a digest: whether data are the same as before.

    The digest is of all rows in memory; where they are streamed, of the first ones.
    """
    digest = hashlib.sha256()
    for batch in source.telling():
        for part in (batch.x, batch.context):
            if part is not None:
                digest.update(part.cpu().contiguous().numpy().tobytes())
    return {"rows": source.n_rows, "digest": digest.hexdigest()[:16]}


def _pick(rows: Rows, index: Tensor) -> Rows:
    context = None if rows.context is None else rows.context[index]
    return Rows(rows.x[index], context, gaps=True)
