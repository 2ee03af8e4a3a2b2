"""Sound: a causal transformer whose tokens are several samples, each told its spectrum."""

import math
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from caudal.base import Normal
from caudal.bijection import Bijection, Chain
from caudal.bijections import Autoregressive, Coupling, TokenCouplings
from caudal.elementwise import Affine
from caudal.flow import Flow
from caudal.nets import MLP, CausalTransformer
from caudal.nets.context import Frames
from caudal.nets.transformer import _Layer, _Linear, _Past, _State
from caudal.recipes import WaveNet
from caudal.recipes.recipe import parity
from sound_layers import Vectors

FEATURES, COUPLINGS = 2, 4


class Near(_Layer):
    """A layer whose attention falls with the distance: a_ts ~ exp(q_t k_s - m_h (t - s)).

    Clips may so be longer than any crop, whose positions would have been learned. The slopes m_h
    of the heads are 2^(-2), 2^(-4), ...
    Reference: Train short, test long (Press, Smith, Lewis, 2021), arXiv:2108.12409.
    """

    def attended(self, q: Tensor, k: Tensor, v: Tensor, causal: bool) -> Tensor:
        mask = self._mask(q.shape[2], k.shape[2]).to(q)
        return F.scaled_dot_product_attention(q, k, v, mask)

    def _mask(self, n: int, seen: int) -> Tensor:
        """(heads, n, seen), of the last n tokens that see all before them and themselves."""
        away = torch.arange(seen - n, seen)[:, None] - torch.arange(seen)
        slopes = 4.0 ** -torch.arange(1, self.heads + 1)
        return (-slopes[:, None, None] * away).masked_fill(away < 0, -math.inf)


class Told(CausalTransformer):
    """A causal transformer over tokens (C, T) of C successive samples, for any T.

    In the place of a position, the embedding of token t - 1 is given the spectra that belong to
    the samples of token t. Parameters are (B, P, rest, T).

    Args:
        size: samples of a token.
        shape: (P, rest), the shape of a token's parameters.
        context: channels of a frame.
        hop: samples of a frame.
    """

    def __init__(
        self, size: int, shape: tuple[int, int], width: int, depth: int, context: int, hop: int
    ) -> None:
        heads = 4
        super().__init__((size, 1), 1, width=width, depth=depth, heads=heads)
        self.size, self.shape = size, shape
        self.place = None
        self.layers = nn.ModuleList(Near(width, heads, 1, 0) for _ in range(depth))
        self.frames = Frames(context, width, hop)
        self.last = _Linear(width, math.prod(shape), None)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        tokens = x[..., :-1].transpose(1, 2)  # (B, T - 1, C)
        first = self.first.expand(x.shape[0], 1, -1)
        h = torch.cat([first, self.embed(tokens, slice(None))], 1) + self._spectra(x, context)
        for layer in self.layers:
            h, _ = layer(h, None)
        return self._params(h)

    def start(self, like: Tensor, context: Tensor | None = None) -> _State:
        for layer in self.layers:
            layer.length = like.shape[-1]  # the room for keys and values
        blank = [None] * len(self.layers)
        return _State(0, like.shape[0], blank, self._spectra(like, context), None)

    def step(self, value: Tensor | None, state: _State) -> tuple[Tensor, _State]:
        t, rows, before, spectra, _ = state
        if value is None:
            h = self.first.expand(rows, 1, -1)
        else:
            h = self.embed(value.reshape(rows, 1, self.size), slice(None))
        h, kept = h + spectra[:, t : t + 1], []
        for layer, past in zip(self.layers, before, strict=True):
            h, past = layer(h, None, past or _Past())
            kept.append(past)
        return self._params(h), _State(t + 1, rows, kept, spectra, None)

    def _spectra(self, x: Tensor, context: Tensor | None) -> Tensor:
        """What frames tell of each token, (B, T, width): the mean over its samples."""
        rows, hold = self.frames(context, x.shape[-1] * self.size)  # (n, B, width)
        each = rows.transpose(0, 1).unflatten(1, (-1, self.size // hold)).mean(2)
        return each[:, : x.shape[-1]]

    def _params(self, h: Tensor) -> Tensor:
        params = self.last(self.norm(h, None), slice(None)).transpose(1, 2)
        return params.unflatten(1, self.shape)


def couplings(size: int, width: int, elementwise: Affine) -> TokenCouplings:
    """Couplings of the samples of a token, the odd ones given the even, and so on in turn."""
    made = []
    for i in range(COUPLINGS):
        keep = parity(size, i)
        kept, moved = int(keep.sum()), int((~keep).sum())
        sizes = kept, moved, elementwise.n_params, (2 * width,), FEATURES * size
        made.append(Coupling(MLP(*sizes, softened=True), elementwise, keep))
    return TokenCouplings(made, FEATURES)


class Tokens(Bijection):
    """A layer of tokens (C, T) as one of clips (1, C T), of which the last token may be a part.

    The rest u of the last token is filled with noise of a standard normal q, and log N(z_u) / q(u)
    is added to the log-det: the density of a clip is then a lower bound, by its last token alone,
    of which there is no round trip.
    """

    def __init__(self, layer: Autoregressive, size: int) -> None:
        super().__init__()
        self.layer, self.size = layer, size

    @property
    def net(self) -> Any:
        return self.layer.net

    def inverse(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        n, u = x.shape[-1], self._rest(x)
        z, log_det = self.layer.inverse(self._cut(torch.cat([x, u], -1)), context)
        z, normal = self._joined(z), Normal((1, -1))
        if u.shape[-1]:
            log_det = log_det + normal.log_prob(z[..., n:]) - normal.log_prob(u)
        return z[..., :n], log_det

    def forward(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        x, log_det = self.layer(self._cut(torch.cat([z, self._rest(z)], -1)), context)
        return self._joined(x)[..., : z.shape[-1]], log_det

    def _rest(self, x: Tensor) -> Tensor:
        """Noise for the rest of the last token (B, 1, n), always the same."""
        shape = 1, 1, -x.shape[-1] % self.size
        rest = torch.randn(shape, generator=torch.Generator().manual_seed(0))
        return rest.to(x).expand(len(x), -1, -1)

    def _cut(self, x: Tensor) -> Tensor:
        return x[:, 0].unflatten(1, (-1, self.size)).transpose(1, 2)

    def _joined(self, tokens: Tensor) -> Tensor:
        return tokens.transpose(1, 2).flatten(1)[:, None]


@dataclass(frozen=True)
class Spoken(WaveNet):
    """An autoregressive layer over tokens of `size` samples, whose net is a transformer.

    The samples of a token are jointly Gaussian given those before, or move by couplings.
    """

    size: int = 16
    joint: str = "gaussian"
    width: int = 64
    depth: int = 2

    def _build(self, event_shape: Any, context_shape: Any = None, white: bool = False) -> Flow:
        law, base = self._law(tuple(event_shape))
        gaussian = self.joint == "gaussian"
        shape = (2 * self.size + math.comb(self.size, 2), 1)
        shape = shape if gaussian else (FEATURES, self.size)
        net = Told(self.size, shape, self.width, self.depth, context_shape[0], self.hop)
        if gaussian:
            layer: Bijection = Vectors(net, law, self.size)
        else:
            net.begin_wide()
            within = couplings(self.size, self.width, law)
            layer = Tokens(Autoregressive(net, within), self.size)
        return Flow(Chain([layer]), base, context_shape=context_shape)
