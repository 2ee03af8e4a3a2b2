"""Fully connected nets of other libraries as ours: plain, residual, masked."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from caudal.conversion.head import Head
from caudal.conversion.plan import Part, part
from caudal.errors import InputError

_FUNCTIONS: dict[Any, str] = {
    F.relu: "relu",
    torch.relu: "relu",
    torch.tanh: "tanh",
    F.tanh: "tanh",
    F.elu: "elu",
    F.silu: "silu",
    F.gelu: "gelu",
}
_MODULES: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "ReLU": ("relu", lambda m: True),
    "LeakyReLU": ("relu", lambda m: m.negative_slope == 0),
    "Tanh": ("tanh", lambda m: True),
    "ELU": ("elu", lambda m: m.alpha == 1),
    "SiLU": ("silu", lambda m: True),
    "GELU": ("gelu", lambda m: m.approximate == "none"),
}


class Dense(NamedTuple):
    """A linear layer (units, inputs), its mask applied; the mask is None where there is none."""

    weight: Tensor
    bias: Tensor
    mask: Tensor | None = None


def refuse(module: Any, where: str, what: str = "") -> InputError:
    """The error for a part that cannot be converted."""
    library = type(module).__module__.split(".")[0]
    reason = what or "has no counterpart here"
    return InputError(
        f"{where} of the `flow`, a {type(module).__name__} of {library}, {reason}: "
        f"affine and rational-quadratic couplings, masked autoregressive layers, permutations, LU "
        f"maps and normalisations can be converted"
    )


def dense(layer: Any) -> Dense:
    """The weights of a linear layer, masked or not, of any library."""
    mask = getattr(layer, "mask", None)
    weight = layer.weight.detach()
    bias = weight.new_zeros(len(weight)) if layer.bias is None else layer.bias.detach()
    return Dense(weight if mask is None else weight * mask.to(weight), bias, mask)


def name_of(activation: Any, where: str) -> str:
    """The name by which our nets know an activation, a function or a module."""
    if isinstance(activation, nn.Module):
        name, fits = _MODULES.get(type(activation).__name__, ("", None))
        if fits is None or not fits(activation):
            raise refuse(activation, where)
        return name
    if activation not in _FUNCTIONS:
        raise InputError(f"{where} of the `flow` has an activation that is unknown here")
    return _FUNCTIONS[activation]


def stack(modules: Iterable[Any], where: str) -> tuple[list[Dense], str]:
    """The layers of a sequence of linear ones with activations between, and the activation.

    Two linear layers that follow each other become one.
    """
    layers: list[Dense] = []
    names: set[str] = set()
    follows = False  # whether the last module was linear
    for i, module in enumerate(modules):
        if getattr(module, "weight", None) is not None and hasattr(module, "in_features"):
            layer = dense(module)
            if layer.weight.ndim != 2:
                raise refuse(module, f"{where}.{i}")
            layers.append(after(layers.pop(), layer) if follows else layer)
            follows = True
        elif type(module).__name__ not in ("Dropout", "Identity"):
            names.add(name_of(module, f"{where}.{i}"))
            if not follows:
                raise refuse(module, f"{where}.{i}", "does not follow a linear layer")
            follows = False
    if not follows or len(names) > 1:
        raise InputError(f"{where} of the `flow` is no net of linear layers and one activation")
    return layers, (names or {"relu"}).pop()


def after(first: Dense, second: Dense) -> Dense:
    """Both layers as one."""
    weight, bias = second.weight @ first.weight, second.weight @ first.bias + second.bias
    if first.mask is None or second.mask is None:
        return Dense(weight, bias)
    return Dense(weight, bias, (second.mask.double() @ first.mask.double()) > 0)


def mlp(layers: Sequence[Dense], activation: str, head: Head, moved: int, context: int) -> Part:
    """A plain net of a coupling that moves so many elements."""
    *hidden, last = layers
    state: dict[str, Tensor] = {}
    for i, layer in enumerate(hidden):
        state |= {f"hidden.{i}.weight": layer.weight, f"hidden.{i}.bias": layer.bias}
    state["last.weight"], state["last.bias"] = by_parameter(last, head, moved)
    return part(
        "MLP",
        state,
        inputs=layers[0].weight.shape[1] - context,
        outputs=moved,
        n_params=head.n_params,
        hidden=tuple(len(layer.bias) for layer in hidden),
        context=context,
        activation_name=activation,
    )


def residual(net: Any, head: Head, moved: int, where: str) -> Part:
    """The residual net that nflows and normflows share, whose contexts gate its blocks."""
    context = net.context_features or 0
    if not len(net.blocks):
        raise refuse(net, where, "has no blocks")
    first, last = dense(net.initial_layer), dense(net.final_layer)
    state = {"first.weight": first.weight, "first.bias": first.bias}
    state["last.weight"], state["last.bias"] = by_parameter(last, head, moved)
    for i, block in enumerate(net.blocks):
        if block.use_batch_norm:
            raise refuse(block, where, "has batch normalisation within the net")
        inner, outer = map(dense, block.linear_layers)
        state |= {f"inner.{i}.weight": inner.weight, f"inner.{i}.bias": inner.bias}
        state |= {f"outer.{i}.weight": outer.weight, f"outer.{i}.bias": outer.bias}
        if context:
            gate = dense(block.context_layer)
            state |= {f"gates.{i}.weight": gate.weight, f"gates.{i}.bias": gate.bias}
    return part(
        "ResidualMLP",
        state,
        inputs=first.weight.shape[1] - context,
        outputs=moved,
        n_params=head.n_params,
        hidden=len(first.bias),
        blocks=len(net.blocks),
        context=context,
        activation_name=name_of(net.blocks[0].activation, where),
        dropout=float(net.blocks[0].dropout.p),
        gated=context > 0,
    )


def by_parameter(last: Dense, head: Head, moved: int) -> tuple[Tensor, Tensor]:
    """The last layer with the elements of a parameter side by side, as our plain nets have it."""
    rows = head.rows(moved)
    params = torch.arange(head.n_params).unsqueeze(1).expand_as(rows)
    return head.last(last.weight, last.bias, rows.flatten(), params.flatten())
