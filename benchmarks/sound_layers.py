"""Sound: layers and nets that were tried, which `sound_trials.py` measures."""

import math
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from scipy.signal import lfilter
from torch import Tensor, nn

import caudal
from caudal.bijection import Bijection, Chain, parts_of
from caudal.elementwise import Affine
from caudal.flow import Flow
from caudal.recipes import WaveNet


class Vectors(Bijection):
    """`size` samples at a time, x_i = mu_i + sum_(j < i) a_ij (x_j - mu_j) + z_i exp(alpha_i).

    The net gives mu, alpha and the a of each vector, from the vectors before it.
    The last vector of a clip is filled up with zeros, of which no density is taken.
    """

    def __init__(self, net: nn.Module, law: Affine, size: int) -> None:
        super().__init__()
        self.net, self.law, self.size = net, law, size
        self.below = torch.tril_indices(size, size, -1)

    def inverse(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        vectors = self._cut(x)  # (B, size, n)
        mu, raw, slopes = self._split(self.net(vectors, context)[:, :, 0])
        apart = vectors - mu
        apart = apart - torch.einsum("bijn,bjn->bin", slopes, apart)
        z, log_slope = self.law.inverse(apart, torch.stack([torch.zeros_like(raw), raw], 1))
        return self._joined(z, x), self._joined(log_slope, x).flatten(1).sum(1)

    def forward(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        vectors = self._cut(z)
        state, value = self.net.start(vectors, context), None
        values, log_slopes = [], []
        for one in vectors.split(1, -1):
            params, state = self.net.step(value, state)
            mu, raw, slopes = self._split(params[:, :, 0])
            drawn, log_slope = self.law.forward(one, torch.stack([torch.zeros_like(raw), raw], 1))
            apart: list[Tensor] = []
            for i in range(self.size):
                known = sum(slopes[:, i, j] * apart[j] for j in range(i))
                apart.append(drawn[:, i] + known)
            value = mu + torch.stack(apart, 1)
            values.append(value)
            log_slopes.append(log_slope)
        x, log_slope = (self._joined(torch.cat(some, -1), z) for some in (values, log_slopes))
        return x, log_slope.flatten(1).sum(1)

    def _split(self, params: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Mu and raw (B, size, n), and the slopes (B, size, size, n), of params (B, P, n)."""
        mu, raw, below = params.split([self.size, self.size, len(self.below[0])], 1)
        slopes = params.new_zeros(len(params), self.size, self.size, params.shape[-1])
        slopes[:, self.below[0], self.below[1]] = below
        return mu, raw, slopes

    def _cut(self, x: Tensor) -> Tensor:
        whole = F.pad(x, (0, -x.shape[-1] % self.size))
        return whole[:, 0].unflatten(1, (-1, self.size)).transpose(1, 2)

    def _joined(self, vectors: Tensor, like: Tensor) -> Tensor:
        return vectors.transpose(1, 2).flatten(1)[:, None, : like.shape[-1]]


class Wide(caudal.nets.WaveNet):
    """A WaveNet of vectors (B, size, n), whose first step sees one of zeros."""

    def start(self, like: Tensor, context: Tensor | None = None) -> Any:
        state = super().start(like, context)
        state.first = like[..., 0] * 0
        return state


class Corrected(Bijection):
    """z_t = (r_t - sum_k c_k r_(t-k)) / s: one more filter, learned by least squares.

    Args:
        residuals: (T,) float64, of the clips to learn from.
        order: how many c there are.
    """

    def __init__(self, residuals: list[Tensor], order: int = 32) -> None:
        super().__init__()
        self.order = order
        gram = sum(self._past(r).T @ self._past(r) for r in residuals)
        self.c = torch.linalg.solve(gram, sum(self._past(r).T @ r for r in residuals))
        left = torch.cat([r - self._past(r) @ self.c for r in residuals])
        self.scale = float(left.square().mean().sqrt())

    def inverse(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        left = x.double() - (self._past(x[:, 0].double()) @ self.c)[:, None]
        lost = x.new_full((len(x),), -math.log(self.scale) * x.shape[-1])
        return (left / self.scale).to(x.dtype), lost

    def forward(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        taps = torch.cat([torch.ones(1).double(), -self.c.flip(0)]).numpy()
        x = torch.from_numpy(lfilter([self.scale], taps, z.double().numpy())).to(z.dtype)
        return x, z.new_full((len(z),), math.log(self.scale) * z.shape[-1])

    def _past(self, r: Tensor) -> Tensor:
        return F.pad(r, (self.order, 0))[..., :-1].unfold(-1, self.order, 1)  # (..., T, order)


class Noisy(caudal.nets.WaveNet):
    """In training the past has noise; what the net is to say of a sample has none."""

    level = 0.0

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        noisy = x + self.level * torch.randn_like(x) if self.training else x
        return super().forward(noisy, context)


@dataclass(frozen=True)
class Tried(WaveNet):
    """A WaveNet that makes `size` samples a step, or hears a noisy past in training."""

    size: int = 1
    noise: float = 0.0

    def _build(self, event_shape: Any, context_shape: Any = None, white: bool = False) -> Flow:
        if self.size == 1:
            flow = super()._build(event_shape, context_shape, white)
            net = parts_of(flow.bijection)[0].net
            net.__class__, net.level = Noisy, self.noise
            return flow
        law, base = self._law(tuple(event_shape))
        slower = replace(self, hop=self.hop // self.size)
        n_params = 2 * self.size + math.comb(self.size, 2)
        net = slower._net(n_params, self.layers, context_shape[0], skip=True)
        net.__class__, net.first = Wide, nn.Linear(self.size, self.channels)
        nn.init.normal_(net.first.weight, std=self.size**-0.5)
        layer = Vectors(net, law, self.size)
        return Flow(Chain([layer]), base, context_shape=context_shape)
