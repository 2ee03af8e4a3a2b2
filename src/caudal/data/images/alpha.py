"""The alpha of the logit, chosen from the images."""

import math

import torch
from torch import Tensor

ALPHAS = (0.4, 0.2, 0.1, 0.05, 0.02, 0.01, 1e-3, 1e-4, 1e-5)
"""The alphas to choose from: at 0.4 the logit is nearly straight, below 1e-5 little changes."""
IMAGES = 1024
"""How many images are looked at, at most."""
_PIXELS = 1024  # pixels of each image


def fitting_alpha(images: Tensor, levels: int, among: tuple[float, ...] = ALPHAS) -> float:
    """The alpha whose logits are best described by a normal law of their own for each pixel.

    The likelihood is that of the dequantised pixels x themselves,

        log p(x) = log N(y; mean, std) + log dy/dx,  y = logit(alpha + (1 - 2 alpha) x),

    with the mean and the deviation of each pixel over the images, so that different alphas
    compare. Ink on white paper, much of it at the ends, asks for a small alpha, photographs for a
    larger one. The same images give the same alpha: which of them, which pixels and the noise
    depend on nothing else.

    Args:
        images: (N, C, H, W), whole numbers below `levels`.
        levels: how many values a pixel can have.
        among: the alphas to choose from.
    """
    generator = torch.Generator().manual_seed(0)
    rows = torch.randperm(len(images), generator=generator)[:IMAGES].to(images.device)
    some = images.index_select(0, rows).flatten(1).cpu()
    some = some[:, torch.randperm(some.shape[1], generator=generator)[:_PIXELS]].double()
    x = (some + torch.rand(some.shape, generator=generator, dtype=some.dtype)) / levels
    return max(among, key=lambda alpha: _likelihood(x, alpha))


def _likelihood(x: Tensor, alpha: float) -> float:
    """Mean log-density of pixels x (N, D) in nats, up to a constant: the best normal's."""
    log_p, log_q = ((alpha + (1 - 2 * alpha) * side).log() for side in (x, 1 - x))
    std = (log_p - log_q).std(0, correction=0).clamp(min=torch.finfo(x.dtype).tiny)
    return float((math.log1p(-2 * alpha) - log_p - log_q).mean() - std.log().mean())
