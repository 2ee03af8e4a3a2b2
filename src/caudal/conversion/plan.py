"""A bijection as plain data: the names of its parts and their arguments, which a file can hold."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from caudal import bijections, elementwise, nets
from caudal.bijection import Bijection, Chain, Inverse

Plan = tuple[Any, ...]
"""(name, (argument, value), ...): values are numbers, text, tuples, and further plans."""


class Part(NamedTuple):
    """A plan, and the weights of what it builds, by their names in its state dict."""

    plan: Plan
    state: dict[str, Tensor]


def part(name: str, tensors: Mapping[str, Tensor] | None = None, **arguments: Any) -> Part:
    """A part of that name; arguments that are parts, or lists of them, bring their weights."""
    state, plain = dict(tensors or {}), []
    for argument, value in arguments.items():
        inner = {argument: value} if isinstance(value, Part) else {}
        if isinstance(value, list):
            inner = {f"{argument}.{i}": item for i, item in enumerate(value)}
        for prefix, item in inner.items():
            state |= {f"{prefix}.{key}": tensor for key, tensor in item.state.items()}
        plans = [item.plan for item in inner.values()]
        plain.append(
            (argument, _frozen(plans if isinstance(value, list) else (plans or [value])[0]))
        )
    return Part((name, *plain), state)


def build(plan: Any) -> Any:
    """What a plan describes, with new weights.

    Raises:
        ValueError: a plan names a part that is unknown here.
    """
    if not isinstance(plan, tuple):
        return plan
    if not plan or not isinstance(plan[0], str):
        return tuple(build(item) for item in plan)
    name, *arguments = plan
    if name not in _MAKERS:
        raise ValueError(f"unknown part {name!r} of a converted flow: a newer caudal's file?")
    return _MAKERS[name](**{argument: build(value) for argument, value in arguments})


def _frozen(value: Any) -> Any:
    if isinstance(value, Tensor):
        value = value.tolist()
    return tuple(_frozen(item) for item in value) if isinstance(value, list | tuple) else value


def _coupling(net: Any, elementwise: Any, keep: tuple[bool, ...]) -> Bijection:
    return bijections.Coupling(net, elementwise, torch.tensor(keep, dtype=torch.bool))


def _permutation(order: tuple[int, ...]) -> Bijection:
    return bijections.Permutation(torch.tensor(order))


def _of(room: Any, *names: str) -> dict[str, Callable[..., Any]]:
    return {name: getattr(room, name) for name in names}


_MAKERS: dict[str, Callable[..., Any]] = {
    "Chain": Chain,
    "Inverse": Inverse,
    "Coupling": _coupling,
    "Permutation": _permutation,
    **_of(bijections, "ActNorm", "Autoregressive", "BatchNorm", "Conv1x1", "FactorOut", "Logit"),
    **_of(bijections, "LUConv1x1", "LULinear", "Pointwise", "Rescale", "Squeezed", "Standardise"),
    **_of(elementwise, "RationalQuadraticSpline", "ScaledShift", "Shift", "SoftSpline"),
    **_of(nets, "MADE", "MLP", "Constant", "ContextMaps", "ConvNet", "OnePerParameter"),
    **_of(nets, "ResidualMLP", "SteeredMADE"),
}
