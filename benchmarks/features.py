"""How near samples of images are to data: a kernel distance, and the nearest training image."""

import numpy as np
import torch
from torch import Tensor, nn


class Features:
    """Features of a small classifier that is trained on the training images of `levels` values.

    They take the place of Inception's, which is of photographs, and is no part of this project. So
    the distance is a kernel distance of these features, and no KID or FID.
    """

    def __init__(self, images: np.ndarray, labels: Tensor, levels: int = 16) -> None:
        torch.manual_seed(0)
        self.levels, inputs = levels, images[0].size
        self.net = nn.Sequential(nn.Linear(inputs, 128), nn.ReLU(), nn.Linear(128, 32), nn.ReLU())
        head = nn.Linear(32, 10)
        x, y = self._rows(images), labels.flatten().long()
        optimiser = torch.optim.Adam([*self.net.parameters(), *head.parameters()], 2e-3)
        for _ in range(300):
            optimiser.zero_grad()
            nn.functional.cross_entropy(head(self.net(x)), y).backward()
            optimiser.step()

    def _rows(self, images: np.ndarray) -> Tensor:
        return torch.as_tensor(images).float().flatten(1) / self.levels

    @torch.no_grad()
    def distance(self, a: np.ndarray, b: np.ndarray) -> float:
        """The unbiased squared maximum mean discrepancy, by the kernel (1 + <u, v> / d)^3."""
        u, v = self.net(self._rows(a)).double(), self.net(self._rows(b)).double()

        def kernel(s: Tensor, t: Tensor) -> Tensor:
            return (1 + s @ t.T / u.shape[1]) ** 3

        def within(s: Tensor) -> Tensor:
            k = kernel(s, s)
            return (k.sum() - k.diagonal().sum()) / (len(s) * (len(s) - 1))

        return float(within(u) + within(v) - 2 * kernel(u, v).mean())


def nearest(samples: np.ndarray, train: np.ndarray) -> float:
    """The median distance of a sample to the nearest training image, in steps of a pixel."""
    a, b = (torch.as_tensor(x).float().flatten(1) for x in (samples, train))
    return float(torch.cdist(a, b).min(1).values.median())
