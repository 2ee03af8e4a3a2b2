"""Flows whose samples are guided: drawn further towards their context than it asks for."""

from typing import Any, cast

import torch
from torch import Tensor, nn

from caudal.bijection import Bijection, exchanged
from caudal.bijections import Autoregressive, Coupling, TokenCouplings
from caudal.errors import InputError
from caudal.flow import Flow
from caudal.nets import CausalNet, Withheld


def guided(flow: Flow, weight: float) -> Flow:
    """The flow of the same modules whose conditionals lie further from those without a context.

    Wherever its nets give parameters h given the context c, such as the mean and the raw log-scale
    of a pixel given those before, the guided flow has

        (1 + w) h(c) - w h(no context),

    and both sides are what the flow has learned: with w = 0 it is the flow itself, with w = -1
    the flow without a context. Samples with w > 0 are more typical of c and less varied. They
    follow the density of the guided flow, which is exact and was never fitted to anything: scores
    belong to the flow itself.
    References: Classifier-free diffusion guidance (Ho, Salimans, 2022), arXiv:2207.12598; for
    autoregressive flows: Normalizing flows are capable generative models (Zhai et al., 2024),
    arXiv:2412.06329.

    Args:
        flow: conditional and autoregressive, such as a tarflow, and trained with an embedding that
            withholds contexts (`caudal.nets.Withheld`).
        weight: w.

    Raises:
        InputError: the flow never had its context withheld, or is not autoregressive.
    """
    if not isinstance(flow.embedding, Withheld):
        raise InputError(
            "`guidance` is for images that were learned with `drop_context`, such as 0.1: then a "
            "flow knows them without their labels too"
        )
    without = flow.embedding.without().detach()

    def layer(part: Bijection) -> Bijection | None:
        return _layer(part, without, weight) if isinstance(part, Autoregressive) else None

    bijection = exchanged(flow.bijection, layer)
    if bijection is None:
        raise InputError(
            "`guidance` is for flows that sample in steps, such as those of tarflow; of a "
            "student, its teacher can be guided"
        )
    return flow.through(bijection)


def _layer(part: Autoregressive, without: Tensor, weight: float) -> Autoregressive:
    """The layer whose map takes guided parameters; of couplings within a token, those of each."""
    law, net = part.elementwise, part.net
    assert isinstance(net, CausalNet)
    if not isinstance(law, TokenCouplings):
        return Autoregressive(_Guided(net, without, weight), law)
    listed = cast("list[Coupling]", list(law.couplings))
    couplings = [
        Coupling(_GuidedWithin(one.net, weight), one.elementwise, one.keep) for one in listed
    ]
    beside = _Guided(net, without, None)
    return Autoregressive(beside, TokenCouplings(couplings, 2 * law.n_params))


class _Guided(CausalNet):
    """A causal net that runs with its context and without, as on twice as many rows.

    It gives guided parameters or, with no weight, both kinds beside each other.
    """

    without: Tensor

    def __init__(self, net: CausalNet, without: Tensor, weight: float | None) -> None:
        super().__init__()
        self.net, self.weight = net, weight
        self.register_buffer("without", without, persistent=False)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        return self._joined(self.net(torch.cat([x, x]), self._both(context)))

    def start(self, like: Tensor, context: Tensor | None = None) -> Any:
        return self.net.start(torch.cat([like, like]), self._both(context))

    def step(self, value: Tensor | None, state: Any) -> tuple[Tensor, Any]:
        params, state = self.net.step(None if value is None else torch.cat([value] * 2), state)
        return self._joined(params), state

    def _both(self, context: Tensor | None) -> Tensor:
        """The context (B, C), then that which says nothing; what comes after both is an order."""
        assert context is not None
        nothing = self.without.expand(len(context), -1)
        return torch.cat([context, torch.cat([nothing, context[:, nothing.shape[1] :]], 1)])

    def _joined(self, params: Tensor) -> Tensor:
        given, without = params.chunk(2)
        if self.weight is None:
            return torch.cat([given, without], 1)
        return without.lerp(given, 1 + self.weight)


class _GuidedWithin(nn.Module):
    """The net of a coupling within a token, given features with the context, and without it."""

    def __init__(self, net: nn.Module, weight: float) -> None:
        super().__init__()
        self.net, self.weight = net, weight

    def forward(self, seen: Tensor, features: Tensor) -> Tensor:
        given, without = (self.net(seen, half) for half in features.chunk(2, 1))
        return without.lerp(given, 1 + self.weight)
