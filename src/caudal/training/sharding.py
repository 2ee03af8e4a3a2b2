"""Weights, gradients and moments shared out over processes: FSDP2, for flows larger than a device.

Each process holds its rows of each weight. A layer of the flow is gathered whole while it works,
in either direction, and its gradient goes to those that hold the rows.

Reference: PyTorch FSDP: experiences on scaling fully sharded data parallel (Zhao et al., 2023),
arXiv:2304.11277.
"""

import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn
from torch import distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method

from caudal.bijection import Bijection, Chain, Within
from caudal.errors import InputError
from caudal.flow import Flow
from caudal.losses import Terms
from caudal.nets import Spectral
from caudal.training.shares import WHOLE, gathered, is_shared

LEAST = 1 << 14
"""Numbers of a layer that is gathered by itself; smaller ones are gathered together, as one."""


class Sharded:
    """A flow whose weights are shared out over all processes, and the whole flow it was.

    Attributes:
        flow: the sharded flow, whose parameters are DTensors; what runs it goes through `call`.
        original: the flow as it was given, without weights while the other one has them.
        large: whether it has so many weights that it is made whole on the CPU, and seldom.
    """

    def __init__(self, flow: Flow, device: torch.device) -> None:
        check_shardable(flow)
        count = sum(p.numel() for p in flow.parameters())
        self.original = flow
        self.large = count > WHOLE
        self._home = torch.device("cpu") if self.large else device
        self._strides = {name: p.stride() for name, p in flow.named_parameters()}
        shared = {id(t): t for t in chain(flow.parameters(), flow.buffers())}
        self.flow = deepcopy(flow, shared)
        mesh = init_device_mesh(device.type, (dist.get_world_size(),))
        self._root: Any = _Root(self.flow)
        for layer in layers(self.flow.bijection):
            if sum(p.numel() for p in layer.parameters()) >= LEAST:
                _alike(layer.to(device))
                # What its inverse, or a walk, does comes before its gradient: nothing stays whole.
                fully_shard(layer, mesh=mesh, reshard_after_forward=True)
                register_fsdp_forward_method(layer, "inverse")
        _alike(self._root.to(device))
        fully_shard(self._root, mesh=mesh, reshard_after_forward=True)
        self._empty()

    def call(self, function: Callable[..., Any], *inputs: Any) -> Any:
        """`function(*inputs)`, which runs the sharded flow."""
        with warnings.catch_warnings():  # FSDP warns of changes in place, which no bijection makes
            warnings.filterwarnings("ignore", message="FSDP2-wrapped module")
            return self._root(function, *inputs)

    def restore(self, weights: Mapping[str, Tensor] | None = None) -> Flow:
        """The original flow with all weights: those of now, or a state of the sharded flow.

        It is on the device of training, unless its weights may not fit there.
        """
        state = self.flow.state_dict() if weights is None else weights
        names = dict(chain(self.original.named_parameters(), self.original.named_buffers()))
        for name, tensor in state.items():
            tensor = gathered(tensor).detach()
            strides = self._strides.get(name, tensor.stride())
            new = torch.empty_strided(tensor.shape, strides, dtype=tensor.dtype, device=self._home)
            names[name].data = new.copy_(tensor)
        return self.original.to(self._home)

    @contextmanager
    def whole(self) -> Iterator[Flow]:
        """Within, the original flow has the weights of now, in each process.

        It keeps them after an error there, which ends training: no other copy is whole.
        """
        flow = self.restore()
        flow.train(self.flow.training)
        yield flow
        self._empty()

    def _empty(self) -> None:
        for parameter in self.original.parameters():
            parameter.data = parameter.data.new_empty(0)


class _Root(nn.Module):
    """Runs any function of a flow as a forward pass, for the sake of FSDP's hooks."""

    def __init__(self, flow: Flow) -> None:
        super().__init__()
        self.flow = flow

    def forward(self, function: Callable[..., Any], *inputs: Any) -> Any:
        return function(*inputs)


def layers(bijection: Bijection) -> Iterator[Any]:
    """The parts of a bijection that work as a whole: those of chains and within views."""
    if isinstance(bijection, Chain):
        for part in bijection.parts:
            yield from layers(part)  # type: ignore[arg-type]
    elif isinstance(bijection, Within):
        yield from layers(bijection.bijection)
    else:
        yield bijection


def check_shardable(flow: Flow, loss: Any = None) -> None:
    """Refuses a flow, or a loss, that cannot go with `strategy="fsdp"`.

    Raises:
        InputError: says which, and why.
    """
    way_on = 'leave `strategy="fsdp"` out'
    if isinstance(loss, Terms):
        raise InputError(
            f"{type(loss).__name__} holds the flow whole, and learns none in shards: {way_on}"
        )
    if any(isinstance(part, Spectral) for part in flow.modules()):
        raise InputError(
            f"spectral layers, as those of residual flows, look at their weights between passes, "
            f"and shards are whole within: {way_on}"
        )
    owners: dict[int, str] = {}
    for number, layer in enumerate(layers(flow.bijection)):
        for name, parameter in layer.named_parameters():
            if owners.setdefault(id(parameter), f"layer {number}") != f"layer {number}":
                raise InputError(
                    f"layer {number} of the flow shares {name} with {owners[id(parameter)]}, and "
                    f"shards belong to one layer: {way_on}"
                )
    for name, parameter in flow.named_parameters():
        if parameter.ndim == 0:
            raise InputError(
                f"{name} is a single number without dimensions, which has no shares: give it the "
                f"shape (1,), or {way_on}"
            )


def _alike(module: nn.Module) -> None:
    """Gives all processes the numbers of the first one, where they are still whole."""
    for tensor in chain(module.parameters(), module.buffers()):
        if not is_shared(tensor):
            tensor.data = tensor.data.contiguous()  # FSDP knows no other memory order
            dist.broadcast(tensor.detach(), 0)
