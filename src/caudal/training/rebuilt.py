"""A flow rebuilt from its recipe is held equal to the flow, by value, before a file is written.

The file holds weights and the recipe's fields. Whatever else shapes a flow (the bound of a spline,
an activation, a prior, a plain number in a part of one's own) has to follow from the recipe.
"""

from collections.abc import Iterator
from copy import deepcopy
from dataclasses import fields
from types import BuiltinFunctionType, FunctionType
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from caudal.base import FREE
from caudal.data.source import Batch
from caudal.elementwise import Elementwise
from caudal.errors import InputError
from caudal.flow import Flow, Origin
from caudal.numerics import RowGenerator, own_randomness, redirected
from caudal.recipes import Recipe, describe
from caudal.testing import move
from caudal.training.checkpoint import build_from

if TYPE_CHECKING:
    from caudal.data import Schema

_ROWS = 4
_SAME = 1e-3  # difference allowed between scores, beside a tolerance for rounding


def check_rebuilt(
    flow: Flow, recipe: Recipe, schema: "Schema | None" = None, rows: Batch | None = None
) -> None:
    """Refuses a recipe or a schema that builds another flow, whose file would be another model.

    The flow is built again and takes over the weights, which are moved a little at random in both.
    Both must then score the same rows alike: some of `rows`, or samples, where there are no rows
    or densities are sequential. Events of free length without rows are compared by their weights'
    shapes and their settings alone.

    Raises:
        InputError: names the field, the setting or the weights that differ.
    """
    describe(recipe)  # which refuses what a file cannot name
    built = build_from(flow, recipe, schema)
    _check_shapes(flow, built, recipe)
    ours, theirs = _moved(flow, built)
    differs = None if flow.origin is None else _other_field(flow.origin, recipe, schema)
    if differs is None and (scores := _other_scores(ours, theirs, recipe, rows)):
        differs = next(_other_settings(ours, theirs), scores)
    if differs:
        raise InputError(
            f"`recipe` {recipe.name} builds another flow: {differs}; let the recipe's fields "
            f"decide on it, or name what builds this flow by @caudal.recipe"
        )


def _check_shapes(flow: Flow, built: Flow, recipe: Recipe) -> None:
    theirs, ours = (
        {name: tuple(t.shape) for name, t in f.state_dict().items()} for f in (built, flow)
    )
    for name in sorted(theirs.keys() | ours.keys()):
        if theirs.get(name) != ours.get(name):
            raise InputError(
                f"`recipe` {recipe.name} is not that of the flow: {name} has shape "
                f"{theirs.get(name, 'none')} there and {ours.get(name, 'none')} here; give the "
                f"recipe, and the schema if any, that the flow was built with"
            )


def _other_field(origin: Origin, recipe: Recipe, schema: "Schema | None") -> str | None:
    """The first field in which the recipe is not the one that built the flow, in words."""
    if type(origin.recipe) is not type(recipe) or origin.schema != schema:
        return None  # another way to the same flow, perhaps
    for field in fields(recipe):
        named, built = (getattr(one, field.name) for one in (recipe, origin.recipe))
        if named != built:
            return f"`{field.name}` is {named} there and {built} in the recipe that built it"
    return None


def _moved(flow: Flow, built: Flow) -> tuple[Flow, Flow]:
    """Copies of both with the same weights, none of them at a value from which flows start."""
    ours, theirs = move(deepcopy(flow).eval()), built.to(flow.base.like).eval()
    theirs.load_state_dict(ours.state_dict())
    return ours, theirs


def _other_settings(ours: Flow, theirs: Flow) -> Iterator[str]:
    """Settings of parts in which the flows differ, in words: types, numbers, texts."""
    modules = dict(theirs.named_modules())
    for name, part in ours.named_modules():
        other = modules.get(name)
        if type(other) is not type(part):
            yield f"{name or 'it'} is {_kind(part)} here and {_kind(other)} there"
            continue
        for setting, value in vars(part).items():
            if setting.startswith("_") or setting in ("origin", "training"):
                continue
            here, there = _as_setting(value), _as_setting(vars(other).get(setting))
            if here is not None and here != there:
                yield f"{f'{name}.' if name else ''}{setting} is {here} here and {there} there"


def _as_setting(value: Any) -> str | None:
    """A number, a text, a function or an elementwise map in words; None for anything else."""
    if isinstance(value, FunctionType | BuiltinFunctionType):
        return value.__qualname__
    if isinstance(value, tuple):
        return str(tuple(map(_as_setting, value)))
    return str(value) if isinstance(value, bool | int | float | str | Elementwise) else None


def _kind(part: nn.Module | None) -> str:
    return "nothing" if part is None else type(part).__name__


def _other_scores(ours: Flow, theirs: Flow, recipe: Recipe, rows: Batch | None) -> str | None:
    if rows is None or recipe.scores == "sequential":
        if FREE in ours.event_shape:
            return next(_other_settings(ours, theirs), None)
        context = _some_context(ours, rows)
        pairs = [_drawn(flow, recipe, context) for flow in (ours, theirs)]
    else:
        x, context = (None if part is None else part[:_ROWS] for part in rows)
        assert x is not None
        pairs = [_scored(flow, x, context) for flow in (ours, theirs)]
    mine, other = (pair.double().flatten() for pair in pairs)
    same = torch.isclose(mine, other, rtol=_SAME, atol=_SAME, equal_nan=True)
    if same.all():
        return None
    first = int((~same).nonzero()[0])
    return f"a row gives {float(mine[first]):.4g} here and {float(other[first]):.4g} there"


@torch.no_grad()
def _scored(flow: Flow, x: Tensor, context: Tensor | None) -> Tensor:
    """The noise and the log-density of rows: a density alone may not change with a part."""
    z = flow.encode(x, context, RowGenerator(x.device))
    log_prob = flow.log_prob(x, context, RowGenerator(x.device))
    return torch.cat([log_prob[:, None], z.flatten(1)], 1)


@torch.no_grad()
def _drawn(flow: Flow, recipe: Recipe, context: Tensor | None) -> Tensor:
    """Numbers that follow from all of a flow: the log-densities of samples, or scores of noise."""
    device = flow.base.like.device
    generator = torch.Generator(device).manual_seed(0)
    with own_randomness(device), redirected():
        if recipe.samples == "parallel" or flow.dequantization is not None:
            x, log_prob = flow.sample_with_log_prob(_ROWS, context, generator=generator)
            return torch.cat([x.flatten(1), log_prob[:, None]], 1)
        return _scored(flow, flow.base.sample(_ROWS, generator), context)


def _some_context(flow: Flow, rows: Batch | None) -> Tensor | None:
    if flow.context_shape is None:
        return None
    if rows is not None and rows.context is not None:
        return rows.context[:_ROWS]
    return flow.base.like.new_zeros(_ROWS, *flow.context_shape)
