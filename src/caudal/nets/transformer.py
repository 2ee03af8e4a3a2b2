"""A causal transformer as the net of an autoregressive layer, which steps from a cache."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from caudal.nets.causal import CausalNet

_START, _OWN_START = 0.5, 0.02
"""Deviation of learned positions at the start. It is about that of embedded tokens: with less, a
norm hides the positions behind the tokens, and they are learned late. Tokens with embeddings of
their own show by these where they are."""
_SHORT = 256
"""Tokens up to which a CPU computes attention as it is written."""


class CausalTransformer(CausalNet):
    """Parameters of each token from the tokens before it, by layers of causal attention.

    Events (T,) are tokens of one number, events (C, T) tokens of C numbers, such as the pixels of
    a patch: (B, *event) and context (B, context) to (B, P, *event). Token t enters as an embedding
    of token t - 1, the first one as learned numbers, plus a learned position:

        h <- h + attention(norm(h)),    h <- h + MLP(norm(h)),    params = last(norm(h))

    With context, the scale and shift of each norm are linear in it. The last layer starts at zero.
    Where the tokens come in any order (`caudal.bijections.AnyOrder`), each of them has two
    positions: that of the token before it, which it has seen, and its own. Such an event may stop
    before its last token.
    One position at a time, a step costs its share of a pass: keys and values of the tokens before
    are kept. Without gradients they are written into memory that is allocated once. A state can
    be continued more than once, with gradients or without: what it holds is never overwritten.
    References: Attention is all you need (Vaswani et al., 2017), arXiv:1706.03762; Normalizing
    flows are capable generative models (Zhai et al., 2024), arXiv:2412.06329; adaptive norms:
    Scalable diffusion models with transformers (Peebles, Xie, 2022), arXiv:2212.09748.

    Args:
        event_shape: (T,) or (C, T).
        n_params: parameters of each number, P.
        width: numbers of a token within the net.
        depth: layers.
        heads: heads of each attention.
        context: length of the context vectors, 0 without.
        own: whether each position has an embedding and a last layer of its own, as columns of a
            table should, which differ in kind; patches of an image share theirs.
        ordered: whether each event comes in an order of its own, which stands after the context:
            which position each of its tokens has, as T numbers.

    Raises:
        ValueError: `width` is no multiple of `heads`.
    """

    def __init__(
        self,
        event_shape: Sequence[int],
        n_params: int,
        *,
        width: int = 64,
        depth: int = 2,
        heads: int = 4,
        context: int = 0,
        own: bool = False,
        ordered: bool = False,
    ) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"`width` {width}: give a multiple of `heads`, which is {heads}")
        *channels, length = event_shape
        self.event_shape = tuple(event_shape)
        self.channels = channels[0] if channels else 1
        self.length = length
        self.n_params = n_params
        self.ordered = ordered
        start = _OWN_START if own else _START
        self.first = nn.Parameter(start * torch.randn(width))
        self.place = nn.Parameter(start * torch.randn(length, width))
        self.seen = nn.Parameter(start * torch.randn(length, width)) if ordered else None
        self.embed = _Linear(self.channels, width, length - (not ordered) if own else None)
        self.layers = nn.ModuleList(_Layer(width, heads, length, context) for _ in range(depth))
        self.norm = _Norm(width, context)
        self.last = _Linear(width, n_params * self.channels, length if own else None)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    @torch.no_grad()
    def begin_at(self, params: Tensor) -> None:
        """Starts at these parameters (P,) of each number, whatever its position."""
        self.last.bias.copy_(params.repeat_interleave(self.channels))

    @torch.no_grad()
    def begin_wide(self) -> None:
        """Starts with features of about unit deviation, for what begins at zero after them."""
        self.last.weight.normal_(std=self.last.weight.shape[-1] ** -0.5)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        context, order = self._parted(context, x.shape[-1])
        columns = x.reshape(x.shape[0], self.channels, x.shape[-1])
        tokens = columns[..., :-1].transpose(1, 2)  # (B, T - 1, C)
        first = self.first.expand(x.shape[0], 1, -1)
        h = torch.cat([first, self._embedded(tokens, order, 0)], 1)
        h = h + self.place[_at(order, 0, h.shape[1])]  # (B, T, width)
        for layer in self.layers:
            h, _ = layer(h, context)
        return self._params(h, order, 0, context)

    def start(self, like: Tensor, context: Tensor | None = None) -> "_State":
        context, order = self._parted(context, like.shape[-1])
        return _State(0, like.shape[0], [None] * len(self.layers), context, order)

    def step(self, value: Tensor | None, state: "_State") -> tuple[Tensor, "_State"]:
        t, rows, before, context, order = state
        if value is None:
            h = self.first.expand(rows, 1, -1)
        else:
            h = self._embedded(value.reshape(rows, 1, self.channels), order, t - 1)
        h = h + self.place[_at(order, t, 1)]
        kept = []
        for layer, past in zip(self.layers, before, strict=True):
            h, past = layer(h, context, past or _Past())
            kept.append(past)
        return self._params(h, order, t, context), _State(t + 1, rows, kept, context, order)

    def _parted(self, context: Tensor | None, n: int) -> tuple[Tensor | None, Tensor | None]:
        """The context, and the positions (B, n) of the tokens, if they come in any order."""
        if not self.ordered or context is None:
            return context, None
        own = context.shape[1] - n
        return context[:, :own] if own else None, context[:, own:].long()

    def _embedded(self, tokens: Tensor, order: Tensor | None, start: int) -> Tensor:
        """Embeddings (B, n, width) of n tokens (B, n, C), the first of which comes at `start`."""
        at = _at(order, start, tokens.shape[1])
        h: Tensor = self.embed(tokens, at)
        return h if self.seen is None else h + self.seen[at]

    def _params(
        self, h: Tensor, order: Tensor | None, start: int, context: Tensor | None
    ) -> Tensor:
        """Parameters (B, P, *rest, n) of n tokens (B, n, width), the first of them at `start`."""
        at = _at(order, start, h.shape[1])
        params = self.last(self.norm(h, context), at).transpose(1, 2)  # (B, P C, n)
        if len(self.event_shape) == 1:
            return params
        return params.unflatten(1, (self.n_params, self.channels))


def _at(order: Tensor | None, start: int, n: int) -> slice | Tensor:
    """The positions of n tokens, the first of which comes at `start`: (B, n), or a slice."""
    at = slice(start, start + n)
    return at if order is None else order[:, at]


class _Memory:
    """Keys and values (2, B, heads, room, width / heads), of which the first `filled` are written.

    Several states may hold the same memory. Only the one that reaches to its end writes on in it.
    """

    def __init__(self, tokens: Tensor, filled: int) -> None:
        self.tokens, self.filled = tokens, filled

    def takes_another(self, n: int) -> bool:
        """Whether a token can be written after the first n in place."""
        elsewhere = self.tokens.is_inference() and not torch.is_inference_mode_enabled()
        return self.filled == n < self.tokens.shape[3] and not elsewhere


class _Past(NamedTuple):
    """The n tokens before, which are the first n in a memory."""

    n: int = 0
    memory: _Memory | None = None

    def tokens(self) -> tuple[Tensor, Tensor]:
        """Keys and values (B, heads, n, width / heads)."""
        assert self.memory is not None
        keys, values = self.memory.tokens[:, :, :, : self.n].unbind(0)
        return keys, values


class _State(NamedTuple):
    """How many tokens there were, the number of rows, the past of each layer, context, order."""

    position: int
    rows: int
    past: Sequence[_Past | None]
    context: Tensor | None
    order: Tensor | None


class _Layer(nn.Module):
    """Causal attention and an MLP of four times the width, each after a norm, each added."""

    def __init__(self, width: int, heads: int, length: int, context: int) -> None:
        super().__init__()
        self.heads, self.length = heads, length
        self.norms = nn.ModuleList(_Norm(width, context) for _ in range(2))
        self.attend = nn.Linear(width, 3 * width)
        self.join = nn.Linear(width, width)
        self.mlp = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )

    def hidden_layers(self) -> list[nn.Module]:
        """All linear ones: their matrices are those that `Muon` moves."""
        return [self.attend, self.join, self.mlp[0], self.mlp[2]]

    def forward(
        self, h: Tensor, context: Tensor | None, past: _Past | None = None
    ) -> tuple[Tensor, _Past | None]:
        """Tokens (B, n, width), all of them or, after a past, the next one alone."""
        parts = self.attend(self.norms[0](h, context)).unflatten(2, (3, self.heads, -1))
        q, k, v = parts.permute(2, 0, 3, 1, 4).unbind(0)  # (B, heads, n, width / heads)
        if past is not None:
            past = _longer(past, torch.stack([k, v]), self.length)
            k, v = past.tokens()
        h = h + self.join(self.attended(q, k, v, past is None).transpose(1, 2).flatten(2))
        return h + self.mlp(self.norms[1](h, context)), past

    def attended(self, q: Tensor, k: Tensor, v: Tensor, causal: bool) -> Tensor:
        """What each of the last n tokens takes from all that it sees: (B, heads, n, size)."""
        return _attention(q, k, v, causal)


def _attention(q: Tensor, k: Tensor, v: Tensor, causal: bool) -> Tensor:
    """softmax(q k^T / sqrt(size)) v, (B, heads, n, size), each token looking back if `causal`.

    PyTorch's fused attention has neither second derivatives nor forward ones on a CPU. For short
    sequences the products as they are written are as fast there, and have both.
    """
    n = k.shape[2]
    if n > _SHORT or q.device.type != "cpu":
        return F.scaled_dot_product_attention(q, k, v, is_causal=causal)
    scores = q * q.shape[-1] ** -0.5 @ k.transpose(2, 3)
    if causal:
        ahead = torch.ones(n, n, dtype=torch.bool, device=q.device).triu(1)
        scores = scores.masked_fill(ahead, -torch.inf)
    return scores.softmax(-1) @ v


def _longer(past: _Past, token: Tensor, length: int) -> _Past:
    """The past with one more token, whose key and value are (2, B, heads, 1, width / heads)."""
    n, memory = past
    if torch.is_grad_enabled():  # nothing is overwritten that a gradient needs
        before = [] if memory is None else [memory.tokens[:, :, :, :n]]
        return _Past(n + 1, _Memory(torch.cat([*before, token], 3), n + 1))
    if memory is None or not memory.takes_another(n):
        room = token.new_empty(*token.shape[:3], length, token.shape[4])
        if memory is not None:
            room[:, :, :, :n] = memory.tokens[:, :, :, :n]
        memory = _Memory(room, n)
    memory.tokens[:, :, :, n : n + 1] = token
    memory.filled = n + 1
    return _Past(n + 1, memory)


class _Norm(nn.Module):
    """Layer normalisation, whose scale and shift are linear in the context where there is one."""

    def __init__(self, width: int, context: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, elementwise_affine=not context)
        self.adapt = nn.Linear(context, 2 * width) if context else None
        if self.adapt is not None:
            nn.init.zeros_(self.adapt.weight)
            nn.init.zeros_(self.adapt.bias)

    def forward(self, h: Tensor, context: Tensor | None) -> Tensor:
        normal: Tensor = self.norm(h)
        if self.adapt is None:
            return normal
        scale, shift = self.adapt(context).unsqueeze(1).chunk(2, -1)
        return torch.addcmul(normal + shift, normal, scale)


class _Linear(nn.Module):
    """A linear map that all positions share, or one for each of them."""

    def __init__(self, inputs: int, outputs: int, positions: int | None) -> None:
        super().__init__()
        shape = (outputs, inputs) if positions is None else (positions, outputs, inputs)
        bound = inputs**-0.5
        self.weight = nn.Parameter(torch.empty(shape).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(shape[:-1]).uniform_(-bound, bound))

    def forward(self, h: Tensor, at: slice | Tensor) -> Tensor:
        """(B, n, inputs) to (B, n, outputs), at positions that are a slice, or (B, n)."""
        if self.weight.ndim == 2:
            return F.linear(h, self.weight, self.bias)
        if isinstance(at, slice):
            return torch.einsum("bni,noi->bno", h, self.weight[at]) + self.bias[at]
        if h.shape[1] == 1:
            return torch.einsum("bni,bnoi->bno", h, self.weight[at]) + self.bias[at]
        # Weights of each token of each row would be many: the tokens go to their places instead.
        placed = h.new_zeros(h.shape[0], len(self.weight), h.shape[2])
        placed = placed.scatter(1, _along(at, h.shape[2]), h)
        out = torch.einsum("bni,noi->bno", placed, self.weight) + self.bias
        return out.gather(1, _along(at, out.shape[2]))


def _along(at: Tensor, size: int) -> Tensor:
    """Positions (B, n) for each number of a token, (B, n, size)."""
    return at.unsqueeze(2).expand(-1, -1, size)
