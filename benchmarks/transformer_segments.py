"""Sampling by sweeps within segments of tokens: Gauss-Seidel between them, Jacobi within.

Reference: Accelerate TarFlow sampling with GS-Jacobi iteration (Liu, Qin, 2025), arXiv:2505.12849.
"""

from collections.abc import Callable

import torch
from torch import Tensor

import caudal
from caudal.bijection import walk
from caudal.bijections import Autoregressive, by_sweeps
from caudal.nets import CausalTransformer
from environment import cpu_milliseconds
from transformer_tell import Row

SEGMENTS = (1, 2, 4, 8)
"""Into how many a layer's tokens are cut; with one all are swept at once."""
SETTLED = 1e-3
"""Sweeps of a segment end when no number moves by more; `by_sweeps` goes on to rounding."""
Cache = list[tuple[Tensor, Tensor] | None]
WHOLE = slice(0, 0)
"""Where the tokens are: nothing asks, as all share their embedding and last layer."""


@torch.no_grad()
def trial(flow: caudal.Flow, rows: int) -> Row:
    """CPU milliseconds of all layers: a pass, cached steps, sweeps, and sweeps in segments.

    `chosen` takes for each layer the number of segments that was fastest on this batch.
    """
    layers = []
    for _, layer, x, _ in walk(flow.bijection, flow.sample(rows)):
        if isinstance(layer, Autoregressive):
            layers.append((layer, x, layer.inverse(x)[0]))

    def summed(run: Callable[[Autoregressive, Tensor, Tensor], object]) -> float:
        return sum(cpu_milliseconds(lambda each=each: run(*each)) for each in layers)

    row: Row = {"tokens": layers[0][2].shape[2], "rows": rows}
    row["pass"] = summed(lambda layer, x, z: layer.inverse(x))
    row["steps"] = summed(lambda layer, x, z: layer.forward(z))
    with by_sweeps(flow):
        row["sweeps"] = summed(lambda layer, x, z: layer.forward(z))
    took = [
        [cpu_milliseconds(lambda e=each, n=n: segmented(e[0], e[2], n)) for n in SEGMENTS]
        for each in layers
    ]
    row["segments"] = [sum(each) for each in zip(*took, strict=True)]
    row["chosen"] = sum(min(each) for each in took)
    row["swept"] = [segmented(layer, z, 1)[1] for layer, _, z in layers]
    for layer, x, z in layers:
        for n in SEGMENTS:
            assert (segmented(layer, z, n)[0] - x).abs().max() < 100 * SETTLED
    return row


def segmented(layer: Autoregressive, z: Tensor, n: int) -> tuple[Tensor, float]:
    """`layer.forward(z)` (B, C, T) in n segments; and how often a token was swept."""
    net, last = layer.net, torch.zeros_like(z[..., :1])
    past: Cache = [None] * len(net.layers)
    done, swept = [], 0
    for noise in z.tensor_split(n, 2):
        x, length = noise, noise.shape[2]
        for _ in range(length + 1):
            before = torch.cat([last, x[..., :-1]], 2)
            params, longer = several(net, before, past)
            new, _ = layer.elementwise.forward(noise, params)
            moved, x, swept = (new - x).abs().max(), new, swept + length
            if moved < SETTLED:
                break
        past, last = longer, x[..., -1:]
        done.append(x)
    return torch.cat(done, 2), swept / z.shape[2]


def several(net: CausalTransformer, before: Tensor, past: Cache) -> tuple[Tensor, Cache]:
    """Parameters (B, P, C, n) of the next n tokens, given the ones before each, (B, C, n)."""
    start = 0 if past[0] is None else past[0][0].shape[2]
    h, longer = net.embed(before.transpose(1, 2), WHOLE), []
    if start == 0:
        h = torch.cat([net.first.expand(len(h), 1, -1), h[:, 1:]], 1)
    n = h.shape[1]
    h = h + net.place[start : start + n]
    ahead = torch.ones(n, start + n, dtype=torch.bool).triu(start + 1)
    for layer, cache in zip(net.layers, past, strict=True):
        parts = layer.attend(layer.norms[0](h, None)).unflatten(2, (3, layer.heads, -1))
        q, k, v = parts.permute(2, 0, 3, 1, 4).unbind(0)
        if cache is not None:
            k, v = torch.cat([cache[0], k], 2), torch.cat([cache[1], v], 2)
        longer.append((k, v))
        scores = (q * q.shape[-1] ** -0.5 @ k.transpose(2, 3)).masked_fill(ahead, -torch.inf)
        h = h + layer.join((scores.softmax(-1) @ v).transpose(1, 2).flatten(2))
        h = h + layer.mlp(layer.norms[1](h, None))
    params = net.last(net.norm(h, None), WHOLE).transpose(1, 2)
    return params.unflatten(1, (net.n_params, net.channels)), longer
