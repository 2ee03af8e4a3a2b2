"""How near samples of images are to data: kernel distance, precision, recall, nearest images."""

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
    def precision_recall(self, drawn: np.ndarray, held: np.ndarray) -> tuple[float, float]:
        """The shares of samples that lie among data, and of data that lie among samples.

        A point lies among others if it is no further from one of these than this one's third
        neighbour is among them. Both sets are cut to the smaller's size, on which the shares
        depend. A mode that is dropped lowers the recall. Blurred samples can lie among data more
        often than data do, and scattered ones have more data among them: neither has a bound in
        what other data would have.
        Reference: Improved precision and recall metric for assessing generative models
        (Kynkäänniemi et al., 2019), arXiv:1904.06991.
        """
        n = min(len(drawn), len(held))
        u, v = (self.net(self._rows(x[:n])).double() for x in (drawn, held))
        return among(u, v), among(v, u)

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


def among(points: Tensor, others: Tensor, k: int = 3) -> float:
    """The share of points (N, D) within a ball around one of the others (M, D).

    Each ball reaches to the k-th neighbour of its centre.
    """

    def distances(a: Tensor) -> Tensor:
        return torch.cdist(a, others, compute_mode="donot_use_mm_for_euclid_dist")

    radius = distances(others).kthvalue(k + 1).values  # its first neighbour is itself
    return float((distances(points) <= radius).any(1).double().mean())


def nearest(samples: np.ndarray, train: np.ndarray) -> float:
    """The median distance of a sample to the nearest training image, in steps of a pixel."""
    a, b = (torch.as_tensor(x).float().flatten(1) for x in (samples, train))
    return float(torch.cdist(a, b).min(1).values.median())
