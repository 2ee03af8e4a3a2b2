"""Interpolation between images, through the noise from which a flow makes them."""

import math

import torch
from torch import Tensor

from caudal.dequantization import PixelDequantization
from caudal.flow import Flow

EDGE = 1 / 64  # share of the step between pixel values, larger than the error of a round trip


def coefficients(phi: Tensor, phi2: Tensor) -> Tensor:
    """The coefficients of four noises at angles (*S): (*S, 4); their squares sum to 1."""
    phi, phi2 = phi.double(), phi2.double()  # in single precision cos(pi/2) is not quite 0
    return torch.stack(
        [
            phi.cos() * phi2.cos(),
            phi.cos() * phi2.sin(),
            phi.sin() * phi2.cos(),
            phi.sin() * phi2.sin(),
        ],
        -1,
    )


def interpolate(z: Tensor, phi: Tensor, phi2: Tensor) -> Tensor:
    """Points at angles (*S) of the manifold through four noises (4, *event): (*S, *event).

    z(phi, phi2) = cos phi (cos phi2 z1 + sin phi2 z2) + sin phi (cos phi2 z3 + sin phi2 z4).
    If the four are independent and normal, so is every point between them. A straight line would
    leave the shell of radius sqrt(D) on which the noise lies.
    Reference: Density estimation using Real NVP (Dinh, Sohl-Dickstein, Bengio, 2017), Eq. 19.
    """
    return torch.tensordot(coefficients(phi, phi2).to(z), z, dims=1)


@torch.no_grad()
def manifold(
    flow: Flow, images: Tensor, context: Tensor | None = None, n: int = 8, seed: int = 0
) -> Tensor:
    """Data between four examples: (n, n, *event), rows along phi, columns along phi2.

    Both angles go from 0 to pi/2, so that the examples are the corners: the first at the top
    left, the second at the top right, the third and the fourth below them. They are encoded with
    one draw of dequantisation noise, and are reproduced exactly. Each point has the context of the
    nearest corner, because a class has no values in between.

    Args:
        flow: the flow, which is put into evaluation mode.
        images: four examples (4, *event), of any dtype.
        context: the contexts (4, C) of the examples, if the flow is conditional.
        n: the number of points along each side.
        seed: the seed of the dequantisation noise.
    """
    if len(images) != 4 or n < 2:
        raise ValueError(
            f"`images` must be 4 corners and `n` at least 2, got {len(images)} and {n}"
        )
    flow.eval()
    like = flow.base.like
    context = None if context is None else context.to(like)
    z = noise_of(flow, images, context, seed)
    angles = torch.linspace(0, math.pi / 2, n, dtype=torch.float64)  # not every device has float64
    between = interpolate(z, *torch.meshgrid(angles, angles, indexing="ij"))
    rows = []
    for i, row in enumerate(between):  # row by row, so that large images fit in memory
        classes = None if context is None else context[_nearest_corners(i, n).to(like.device)]
        rows.append(flow.decode(row, classes))
    return torch.stack(rows)


def _lifted(flow: Flow, images: Tensor, generator: torch.Generator) -> Tensor:
    """Images with dequantisation noise, away from the steps by more than a round trip errs."""
    y, _ = flow.lift(images, generator)
    if not isinstance(flow.dequantization, PixelDequantization):
        return y
    return images + EDGE + (1 - 2 * EDGE) * (y - images)


def _nearest_corners(row: int, n: int) -> Tensor:
    """Indices (n,) of the corners nearest to the cells of a row; in a tie, the first."""
    below = 2 * row > n - 1
    return 2 * below + (2 * torch.arange(n) > n - 1).long()


@torch.no_grad()
def noise_of(flow: Flow, x: Tensor, context: Tensor | None = None, seed: int = 0) -> Tensor:
    """The noise (B, *event) of examples x (B, *event), from which `Flow.decode` makes them again.

    Where values are in steps, one draw of dequantisation noise lies away from their edges by more
    than a round trip errs, so that examples come back as they were.

    Args:
        flow: the flow, which is put into evaluation mode.
        x: of any dtype.
        context: of the examples, if the flow is conditional.
        seed: the seed of the dequantisation noise.
    """
    flow.eval()
    like = flow.base.like
    generator = torch.Generator(like.device).manual_seed(seed)
    context = None if context is None else context.to(like)
    lifted = _lifted(flow, x.to(like), generator)
    z: Tensor = flow.continuous().encode(lifted, context)
    return z


def direction(z: Tensor, of: Tensor) -> Tensor:
    """The direction (*event) in noise between two classes: the difference of their means.

    Added to the noise of an example it makes the example more like the second class. Reference:
    Glow: Generative Flow with Invertible 1x1 Convolutions (Kingma, Dhariwal, 2018,
    arXiv:1807.03039), section 6.3.

    Args:
        z: noise of examples (B, *event).
        of: (B,), False for examples of the first class, True for those of the second.
    """
    return z[of].mean(0) - z[~of].mean(0)
