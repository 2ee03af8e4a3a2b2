"""A recipe and what the data are make the flow that is trained on them."""

import math

import torch

from caudal.base import FREE, Uniform
from caudal.bijection import Bijection, Chain, parts_of
from caudal.bijections import Flattened, Logit, Rescale, Standardise, Support
from caudal.data import Column, TableSchema
from caudal.data.audio.schema import AudioSchema
from caudal.data.images import ImageSchema
from caudal.data.schema import Schema
from caudal.dequantization import (
    AudioDequantization,
    ImageDequantization,
    PixelDequantization,
    TableDequantization,
)
from caudal.errors import InputError
from caudal.flow import Flow
from caudal.nets import ColumnEmbedding
from caudal.recipes import Recipe
from caudal.recipes.variational import variational
from caudal.recipes.wavenet import AudioRecipe


def assemble(recipe: Recipe, schema: Schema) -> Flow:
    """The recipe's flow, dressed for a table or for images: `log_prob` is in the user's units."""
    if isinstance(schema, ImageSchema):
        return assemble_images(recipe, schema)
    if isinstance(schema, AudioSchema):
        return assemble_audio(recipe, schema)
    assert isinstance(schema, TableSchema)
    return assemble_table(recipe, schema)


def assemble_images(recipe: Recipe, schema: ImageSchema) -> Flow:
    """The recipe's flow, dressed for images: log_prob is a mass of whole numbers, in nats.

    From the data to the noise: dequantisation, pixel values to where the flow has them
    (`schema.pixels`), the recipe's bijection, of vectors where it does not know images.
    """
    shape = schema.shape
    embedding = ColumnEmbedding(_levels(schema)) if schema.context else None
    context = (embedding.n_features,) if embedding else None
    if recipe.images:
        core = recipe.build(shape, context)
        bijection, base = core.bijection, core.base
    else:
        features = (schema.countable,)
        core = recipe.build(features, context)
        # Pixels that hardly vary begin as noise like the others; without, NICE takes hours to it.
        inner = Chain([core.bijection, Standardise(features)])
        bijection = Flattened(inner, shape)
        base = type(core.base)(shape)
    return Flow(
        Chain([bijection, *_pixels(schema, schema.pixels or recipe.pixels)]),
        base,
        context_shape=(len(schema.context),) if schema.context else None,
        embedding=embedding,
        dequantization=_dequantization(schema),
    )


def _pixels(schema: ImageSchema, pixels: str) -> list[Bijection]:
    """From values in [0, levels] to what the flow takes, listed from the noise to the data."""
    to_unit = 1 / schema.levels
    if pixels == "centred":
        return [Rescale(to_unit, -0.5)]
    squash: list[Bijection] = [Logit(schema.alpha)] if pixels == "logit" else []
    return [*squash, Rescale(to_unit)]


def _dequantization(schema: ImageSchema) -> PixelDequantization:
    if schema.dequantization == "uniform":
        return ImageDequantization(schema.shape, schema.levels)
    return variational(schema.shape, schema.levels)


def assemble_audio(recipe: Recipe, schema: AudioSchema) -> Flow:
    """The recipe's flow, dressed for clips: log_prob is a mass of whole numbers, in nats.

    From the data to the noise: dequantisation, amplitudes in [-1, 1), standardisation, the
    recipe's bijection. A density on [-1, 1], such as a histogram, is not standardised.

    Raises:
        InputError: the recipe does not model sound, or has frames of another length.
    """
    if not isinstance(recipe, AudioRecipe):
        raise InputError(f"{recipe.name} does not model sound: take wavenet")
    if recipe.hop != schema.hop:
        raise InputError(f"--hop {recipe.hop}: the data's frames are of {schema.hop} samples")
    numbers = [0] * schema.mels
    embedding = ColumnEmbedding([*_levels(schema), *numbers]) if schema.n_context else None
    core = recipe.build((1, FREE), (embedding.n_features, FREE) if embedding else None)
    scale: list[Bijection] = [] if isinstance(core.base, Uniform) else [Standardise((1, FREE))]
    amplitudes = Rescale(1 / schema.full_scale)
    return Flow(
        Chain([*parts_of(core.bijection), *scale, amplitudes]),
        core.base,
        context_shape=(schema.n_context, FREE) if schema.n_context else None,
        embedding=embedding,
        dequantization=AudioDequantization(schema.bits),
    )


def assemble_table(recipe: Recipe, schema: TableSchema) -> Flow:
    """The recipe's flow, dressed for the columns of a table.

    From the data to the noise: rounding noise and flags for missing values, the columns' supports
    opened to the whole line, standardisation, the recipe's bijection. Fitted by `initialize`.
    """
    columns = schema.columns
    missing = torch.tensor([column.missing for column in columns])
    step = torch.tensor([column.step or 0.0 for column in columns])
    flags = int(missing.sum())
    low = torch.tensor([_end(column.low, -math.inf) for column in columns])
    high = torch.tensor([_top(column) for column in columns])
    embedding = ColumnEmbedding(_levels(schema)) if schema.context else None
    features = (len(columns) + flags,)
    core = recipe.build(features, (embedding.n_features,) if embedding else None)
    dressing: list[Bijection] = [Standardise(features)]
    all_low = torch.cat([low, torch.zeros(flags)])
    all_high = torch.cat([high, torch.full((flags,), 2.0)])
    if (all_low.isfinite() | all_high.isfinite()).any():
        dressing.append(Support(all_low, all_high))
    uneven = bool(flags or step.any())
    return Flow(
        Chain([core.bijection, *dressing]),
        core.base,
        context_shape=(len(schema.context),) if schema.context else None,
        embedding=embedding,
        dequantization=TableDequantization(step, missing, low, high) if uneven else None,
    )


def _end(value: float | None, default: float) -> float:
    return default if value is None else value


def _top(column: Column) -> float:
    """Rounding noise lifts a stepped column up to one step above its highest value."""
    return _end(column.high, math.inf) + (column.step or 0.0)


def _levels(schema: Schema) -> list[int]:
    """The number of categories of each context column, 0 for a number."""
    return [len(column.categories or ()) for column in schema.context]
