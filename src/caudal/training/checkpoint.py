"""The model file: the weights of a flow, with its recipe and its schema beside them.

A safetensors file holds numbers and text only, so loading a stranger's file runs no code.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from caudal.bijection import parts_of
from caudal.bijections import Circle, Standardise
from caudal.errors import InputError, one_line
from caudal.files import path_of
from caudal.flow import Flow
from caudal.modality import assemble
from caudal.numerics import own_randomness, redirected
from caudal.recipes import Recipe, describe, rebuild, sources_of
from caudal.training.bounded import bounded, check_wanted
from caudal.training.tensors import read_tensors, write_tensors
from caudal.version import __version__

if TYPE_CHECKING:
    from caudal.data import Schema

MODEL = "model.safetensors"
"""The name of the model in a run folder."""
FORMAT = 2
"""Version of the metadata; a higher one is refused, a lower one is read."""
_KEY = "caudal"
_DTYPES = {"float32": torch.float32, "float64": torch.float64}
# Errors that a recipe or a schema raises when built from metadata that were tampered with.
_NONSENSE = (
    ArithmeticError,
    AttributeError,
    LookupError,
    MemoryError,
    RuntimeError,
    TypeError,
    ValueError,
)


@dataclass(frozen=True)
class Loaded:
    """What a model file holds.

    Attributes:
        flow: in evaluation mode, on the CPU.
        recipe: the one that built it.
        schema: of the data it was trained on; None for plain tensors.
        metadata: everything that was saved beside the weights: `version` of caudal, `step`,
            `valid` (mean validation loss, nats) and what the writer added.
    """

    flow: Flow
    recipe: Recipe
    schema: "Schema | None"
    metadata: dict[str, Any]


def save_model(
    path: str | Path | None,
    flow: Flow,
    recipe: Recipe,
    schema: "Schema | None" = None,
    extra: Mapping[str, Any] | None = None,
    weights: Mapping[str, Tensor] | None = None,
) -> None:
    """Writes a flow to one safetensors file, atomically.

    One that is sharded is gathered weight by weight, for which all its processes must come here.
    Whether the recipe builds this flow is for `caudal.training.rebuilt` to check.

    Args:
        path: the file; None in a process that writes nothing.
        flow: the one whose weights are saved.
        recipe: the one that built `flow`, by `recipe.build` or `assemble(recipe, schema)`.
        schema: of the data, if `flow` was assembled for one.
        extra: further metadata that JSON can hold.
        weights: a state of the flow to write instead of its present one.
    """
    state = flow.state_dict() if weights is None else weights
    text = json.dumps({**(extra or {}), **_metadata(flow, recipe, schema)})
    write_tensors(None if path is None else Path(path), state, lambda _: {_KEY: text})


def grafted(whole: Flow, part: Flow, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state of `whole` with other weights for `part`, a flow that shares tensors with it."""
    names = {id(t): name for name, t in part.state_dict(keep_vars=True).items()}
    state = whole.state_dict(keep_vars=True)
    return {name: weights[names[id(t)]] if id(t) in names else t for name, t in state.items()}


def part_of(whole: Flow, part: Flow, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state of `part`, a flow that shares tensors with `whole`, within a state of `whole`."""
    names = {id(t): name for name, t in whole.state_dict(keep_vars=True).items()}
    return {name: weights[names[id(t)]] for name, t in part.state_dict(keep_vars=True).items()}


def load(path: str | Path) -> Flow:
    """The flow of a run folder or a .safetensors file, in evaluation mode, on the CPU.

    Raises:
        InputError: the file is missing, damaged, or does not fit what it says it is.
    """
    return load_model(path).flow


def load_model(path: str | Path) -> Loaded:
    """The flow of a run folder or file, with its recipe, schema and metadata.

    Raises:
        InputError: as `load`.
    """
    path = find_model(path)
    metadata, tensors = _read(path)
    try:
        check_wanted(metadata, tensors)
        with bounded(tensors):
            recipe, schema, flow = _rebuild(metadata)
    except _NONSENSE as error:
        what = f"{error} is missing" if isinstance(error, KeyError) else one_line(error)
        raise InputError(f"{path}: its flow cannot be built: {what}") from error
    fill(flow, tensors, str(path))
    return Loaded(flow.eval(), recipe, schema, metadata)


def find_model(path: str | Path) -> Path:
    """The model file in a run folder, or the file itself.

    Raises:
        InputError: there is no such file.
    """
    path = path_of(path, "run")
    if path.is_dir():
        if not (path / MODEL).is_file():
            raise InputError(f"{path}: no {MODEL} in this folder; is it a run, and validated yet?")
        return path / MODEL
    if not path.is_file():
        raise InputError(f"{path}: no such run folder or model file")
    return path


def build_from(flow: Flow, recipe: Recipe, schema: "Schema | None") -> Flow:
    """A new flow of the recipe, for the same events and contexts as those of `flow`.

    Raises:
        InputError: the recipe builds none for them.
    """
    shapes = flow.event_shape, flow.context_shape
    try:
        return _build(recipe, schema, *shapes, _is_standardised(flow), circles_of(flow))
    except InputError:
        raise
    except ValueError as error:
        raise InputError(f"`recipe` {recipe.name} is not that of the flow: {error}") from None


def fill(flow: Flow, tensors: Mapping[str, Tensor], source: str) -> None:
    """Puts weights into a new flow.

    What files of earlier versions lack, the buffers that a module lists as `newer`, stays.

    Raises:
        InputError: missing or unexpected tensors, other shapes, or values that are not finite;
            the message starts with `source`.
    """
    state = flow.state_dict()
    new = {f"{at}.{n}" for at, part in flow.named_modules() for n in getattr(part, "newer", ())}
    tensors = {name: state[name] for name in sorted(new & state.keys())} | dict(tensors)
    lacking, unexpected = state.keys() - tensors.keys(), tensors.keys() - state.keys()
    for what, names in (("lacks", lacking), ("has unexpected", unexpected)):
        if names:
            raise InputError(f"{source}: {what} {len(names)} tensors, {min(names)!r} first")
    for name, tensor in tensors.items():
        if tensor.shape != state[name].shape:
            shapes = f"{tuple(tensor.shape)}, not {tuple(state[name].shape)}"
            raise InputError(f"{source}: {name!r} has shape {shapes}")
        if not torch.isfinite(tensor).all() and torch.isfinite(state[name]).all():
            raise InputError(f"{source}: {name!r} has values that are not finite")
    flow.load_state_dict(tensors)


def _metadata(flow: Flow, recipe: Recipe, schema: "Schema | None") -> dict[str, Any]:
    return {
        "format": FORMAT,
        "version": __version__,
        "recipe": describe(recipe),
        "sources": sources_of(recipe),
        "dtype": str(flow.base.like.dtype).removeprefix("torch."),
        "event_shape": list(flow.event_shape),
        "context_shape": None if flow.context_shape is None else list(flow.context_shape),
        "schema": None if schema is None else schema.to_dict(),
        "standardise": schema is None and _is_standardised(flow),
        **({"circles": circles} if (circles := circles_of(flow)) else {}),
    }


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    try:
        texts, tensors = read_tensors(path)
    except (ValueError, OSError) as error:
        reason = one_line(error)
        raise InputError(f"{path}: not a safetensors file, or damaged ({reason})") from error
    try:
        content = json.loads(texts.get(_KEY, "null"))
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, dict):
        raise InputError(f"{path}: holds weights, but not of a flow that caudal saved")
    if not isinstance(content.get("format"), int) or content["format"] > FORMAT:
        made = f"format {content.get('format')} of caudal {content.get('version')}"
        raise InputError(f"{path}: written in {made}, newer than this caudal reads: upgrade it")
    return content, tensors


def _rebuild(metadata: dict[str, Any]) -> tuple[Recipe, "Schema | None", Flow]:
    """The recipe, the schema and a new flow that metadata describe."""
    recipe = rebuild(metadata["recipe"], metadata.get("sources"))
    dtype, schema = _DTYPES[metadata["dtype"]], None
    if metadata["schema"] is not None:
        from caudal.data import schema_from_dict

        schema = schema_from_dict(metadata["schema"])
    shapes = metadata["event_shape"], metadata["context_shape"]
    asked = metadata.get("standardise", False), metadata.get("circles", {})
    flow = _build(recipe, schema, *shapes, *asked)
    return recipe, schema, flow.to(dtype)


def _is_standardised(flow: Flow) -> bool:
    """Whether a flow for plain tensors was built with standardisation."""
    if flow.origin is not None:
        return flow.origin.standardised
    last: list[Any] = list(parts_of(flow.bijection)[-1:])
    if circles_of(flow):  # the columns that are no circles are standardised within
        last = list(flow.bijection.modules())
    return flow.embedding is not None or any(isinstance(part, Standardise) for part in last)


def circles_of(flow: Flow) -> dict[str, tuple[float, float]]:
    """The circles of a flow for plain tensors, by the index of the column, as JSON has it."""
    last = parts_of(flow.bijection)[-1:]
    return last[0].ends if last and isinstance(last[0], Circle) else {}


def _build(
    recipe: Recipe,
    schema: "Schema | None",
    event_shape: Sequence[int],
    context_shape: Sequence[int] | None,
    standardise: bool = True,
    circles: Mapping[str, tuple[float, float]] = MappingProxyType({}),
) -> Flow:
    """A new flow, for the data of a schema or for plain tensors, without touching randomness."""
    with own_randomness(), redirected():  # building draws initial weights
        if schema is not None:
            return assemble(recipe, schema)
        context = None if context_shape is None else tuple(context_shape)
        shape, asked = tuple(event_shape), {"standardise": standardise}
        if circles:
            ends = {int(column): (low, high) for column, (low, high) in circles.items()}
            return recipe.build_on_circles(shape, ends, context, **asked)
        return recipe.build(shape, context, **asked)
