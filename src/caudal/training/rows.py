"""The rows of training: from what the user has, samples of them, shares, devices, mirrors."""

import hashlib
from typing import Any

import numpy as np
import torch
from torch import Tensor

from caudal.bijections import ZCA, SpectralUpdate
from caudal.data.source import Batch, Rows, Source, mapped, permutation, weights_of, with_weights
from caudal.errors import InputError
from caudal.flow import Flow
from caudal.numerics import uniform
from caudal.training.seeds import SAMPLE, SPLIT, mix

Array = Tensor | np.ndarray
RowsLike = Source | Array | tuple[Array, Array]
"""Rows as a user has them: a source, x (N, *event), or x with its context (N, C)."""

_WHOLE = 1_000_000  # rows; MAF's rule asks for all of them, which is cheap up to here
_SUBSET = 100_000  # rows, which estimate a mean to 1/300 of a standard deviation
_FEW = 256  # rows, Glow's first batch; each pixel of an image is a sample of its channel's moments
_NUMBERS_TO_START, _NUMBERS_TO_CALIBRATE = 1 << 22, 1 << 24  # where events are large
_NUMBERS_TO_UPDATE = 1 << 18  # where each costs about as much as a step of training
_TO_WHITEN = 10  # rows for each number of an event, enough to estimate its covariance
_RESIDENT = 2 << 30  # bytes that may move to the accelerator once and for all


def rows_for(flow: Flow, data: RowsLike, weights: Array | None = None) -> Source:
    """A source of rows that a flow is to take; NaN is a gap where the flow models gaps.

    Raises:
        InputError: as `as_source`.
    """
    return as_source(data, flow.base.like.dtype, flow.dequantization is not None, weights)


def as_source(
    data: RowsLike,
    dtype: torch.dtype = torch.float32,
    gaps: bool = False,
    weights: Array | None = None,
) -> Source:
    """A source of the rows.

    Tensors and arrays become rows in memory. Pixels of 8 bits stay bytes until they are needed.

    Args:
        data: a source, which is given back, or numbers.
        dtype: of what arrays become.
        gaps: whether NaN is a gap.
        weights: (N,), how much each row counts.

    Raises:
        InputError: `data` is something else, or arrays of something else than numbers; or there
            are weights beside a source, which has its own.
    """
    if isinstance(data, Source):
        if weights is not None:
            raise InputError("`weights` of a source are its own: Rows(x, context, weights)")
        return data
    pair = data if isinstance(data, tuple) and len(data) == 2 else (data, None)
    x, context = (None if part is None else _as_tensor(part, dtype) for part in pair)
    if x is None:
        raise _no_rows(None)
    weights = None if weights is None else torch.as_tensor(weights)
    return Rows(x, context, weights, gaps=gaps)


def _as_tensor(values: Any, dtype: torch.dtype) -> Tensor:
    if isinstance(values, Tensor):
        return values
    if not isinstance(values, np.ndarray) or values.dtype.kind not in "biuf":
        raise _no_rows(values)
    if values.dtype == np.uint8 and values.ndim == 4:
        return torch.from_numpy(values)
    return torch.from_numpy(np.array(values, np.float64)).to(dtype)


def _no_rows(value: Any) -> InputError:
    what = f"array of {value.dtype}" if isinstance(value, np.ndarray) else type(value).__name__
    return InputError(
        f"cannot train on rows given as {what}: give a tensor or a NumPy array of numbers "
        f"(N, ...), a pair (x, context) of them, or a Source"
    )


def hold_out(source: Source, seed: int) -> tuple[Source, Source]:
    """Splits rows in memory at random: nine tenths for training, one tenth for validation.

    Raises:
        InputError: the rows are streamed, or too few to split.
    """
    if not isinstance(source, Rows):
        raise InputError("give validation rows: only rows in memory are split here")
    cut = round(0.1 * source.n_rows)
    if cut < 1:
        raise InputError(f"{source.n_rows} rows are too few to hold a tenth out for validation")
    order = permutation(source.n_rows, mix(seed, SPLIT)).to(source.x.device)
    return _pick(source, order[cut:]), _pick(source, order[:cut])


def sample_rows(source: Source, most: int, seed: int) -> Batch:
    """All rows if there are at most `most`; else that many at random, the same ones each time."""
    if source.n_rows > most:
        return next(source.shuffled(most, mix(seed, SAMPLE)))
    if isinstance(source, Rows):
        return with_weights(Batch(source.x, source.context), source.weights)
    batches = list(source.ordered(8192))
    contexts = [batch.context for batch in batches if batch.context is not None]
    x = torch.cat([batch.x for batch in batches])
    return Batch(x, torch.cat(contexts) if contexts else None)


def calibration_rows(source: Source, seed: int) -> Batch:
    """Rows whose moments stand for those of the training set.

    They are all rows if these are in memory and at most a million; else a fixed random 100,000.
    Images and clips, whose numbers are samples too, are at most as many as hold 16 million.
    """
    whole = isinstance(source, Rows) and source.n_rows <= _WHOLE
    most = _WHOLE if whole else _SUBSET
    return sample_rows(source, within(source, most, _NUMBERS_TO_CALIBRATE), seed)


def initial_rows(source: Source, seed: int, flow: Flow) -> Batch:
    """Rows for data-dependent initialisation: at most 100,000, and many more if it whitens."""
    whitened = [part.mean.numel() for part in flow.modules() if isinstance(part, ZCA)]
    numbers = max([_to_start(flow), *(_TO_WHITEN * size**2 for size in whitened)])
    return sample_rows(source, within(source, _SUBSET, numbers), seed)


def few_rows(source: Source, flow: Flow) -> int:
    """How many of them are enough for layers that do not whiten."""
    return within(source, _SUBSET, _to_start(flow))


def _to_start(flow: Flow) -> int:
    slow = any(isinstance(part, SpectralUpdate) for part in flow.modules())
    return _NUMBERS_TO_UPDATE if slow else _NUMBERS_TO_START


def within(source: Source, most: int, numbers: int) -> int:
    """How many images or clips hold that many numbers, at least 256; for vectors `most`."""
    if source.row_numbers is None:
        return most
    return min(most, max(_FEW, numbers // source.row_numbers))


def to_device(batch: Batch, like: Tensor) -> Batch:
    """The batch on the device and in the precision of `like`."""
    return mapped(batch, lambda part: part.to(like))


def resident(source: Source, like: Tensor) -> Source:
    """The source on the accelerator, if its rows are in memory and fit there.

    It then moves once, not batch by batch. Bytes stay bytes until a batch is taken.
    """
    if like.device.type == "cpu" or not isinstance(source, Rows):
        return source
    compact = source.x.dtype == torch.uint8
    x_size = source.x.numel() * (1 if compact else like.element_size())
    context_size = 0 if source.context is None else source.context.numel() * like.element_size()
    if x_size + context_size > _RESIDENT:
        return source
    x = source.x.to(like.device) if compact else source.x.to(like)
    parts = (source.context, source.weights)
    return Rows(x, *(None if part is None else part.to(like) for part in parts), gaps=True)


def share(batch: Batch, rank: int, world: int) -> Batch:
    """The rows of a batch that process `rank` of `world` works on."""
    if world == 1:
        return batch
    return mapped(batch, lambda part: part[rank::world])


def fingerprint(source: Source) -> dict[str, Any]:
    """The number of rows and a digest, by which the same data are recognised.

    The digest covers all rows in memory, or the first ones where they are streamed.
    """
    digest = hashlib.sha256()
    for batch in source.telling():
        for part in (*batch, weights_of(batch)):
            if part is not None:
                digest.update(part.cpu().contiguous().numpy().tobytes())
    return {"rows": source.n_rows, "digest": digest.hexdigest()[:16]}


def flipped(batch: Batch) -> Batch:
    """Images (B, C, H, W), each mirrored left to right, or not, with equal chance.

    The mirror image of a natural picture is as likely as the picture itself.
    """
    x, weights = batch.x, weights_of(batch)
    mirrored = uniform(x.new_empty(len(x), dtype=torch.get_default_dtype()), None) < 0.5
    batch = Batch(torch.where(mirrored[:, None, None, None], x.flip(-1), x), batch.context)
    return with_weights(batch, weights)


def _pick(rows: Rows, index: Tensor) -> Rows:
    parts = (rows.context, rows.weights)
    return Rows(rows.x[index], *(None if v is None else v[index] for v in parts), gaps=True)
