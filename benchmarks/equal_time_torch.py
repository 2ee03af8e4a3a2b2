"""A worker of `equal_time.py`: zuko, nflows and normflows as their documentation has them.

Each flow cites the page that its layers, sizes, rate and batch come from. Where a page has two
columns and the data have more, hidden units stay as they are unless the page ties them to these.
"""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from equal_time_job import SCALE, Job, Problem, race, work


@dataclass(frozen=True)
class Flow:
    """A documented flow: what builds its `log_prob` module, and how it is trained."""

    build: Callable[[tuple[int, ...]], nn.Module]
    batch: int
    rate: float = 1e-3
    decay: float = 0.0
    optimiser: type[torch.optim.Optimizer] = torch.optim.Adam
    clip: float = 0.0
    anneals: bool = False


class _Of(nn.Module):
    """A flow with the way to its log_prob, where that takes more than rows."""

    def __init__(self, flow: nn.Module, way: Callable[[nn.Module, Tensor], Tensor]) -> None:
        super().__init__()
        self.flow, self._way = flow, way

    def log_prob(self, x: Tensor) -> Tensor:
        return self._way(self.flow, x)


def _called(flow: nn.Module, x: Tensor) -> Tensor:
    return flow().log_prob(x)


def _without_classes(flow: nn.Module, x: Tensor) -> Tensor:
    return flow.log_prob(x, None)


def zuko_nsf(shape: tuple[int, ...]) -> nn.Module:
    """https://zuko.readthedocs.io/stable/tutorials/forward_kl.html (1.6.0)."""
    import zuko

    flow = zuko.flows.NSF(*shape, transforms=3, hidden_features=(64, 64))
    return _Of(flow, _called)


def zuko_readme(shape: tuple[int, ...]) -> nn.Module:
    """https://pypi.org/project/zuko/1.6.0, which names no batch: that of the page above."""
    import zuko

    flow = zuko.flows.NSF(*shape, transforms=3, hidden_features=[128] * 3)
    return _Of(flow, _called)


def nflows_moons(shape: tuple[int, ...]) -> nn.Module:
    """https://github.com/bayesiains/nflows/blob/v0.14/examples/moons.ipynb.

    Its hidden units are twice its columns.
    """
    from nflows.distributions.normal import StandardNormal
    from nflows.flows.base import Flow as Nflow
    from nflows.transforms import (
        CompositeTransform,
        MaskedAffineAutoregressiveTransform,
        ReversePermutation,
    )

    parts = []
    for _ in range(5):
        parts += [
            ReversePermutation(*shape),
            MaskedAffineAutoregressiveTransform(*shape, hidden_features=2 * shape[0]),
        ]
    return Nflow(CompositeTransform(parts), StandardNormal(shape))


def nflows_nsf(shape: tuple[int, ...]) -> nn.Module:
    """https://github.com/bayesiains/nsf/blob/2ea159e/experiments/uci.py.

    The README of nflows names it as where the package comes from; these are its defaults.
    """
    from nflows.distributions.normal import StandardNormal
    from nflows.flows.base import Flow as Nflow
    from nflows.transforms import (
        CompositeTransform,
        LULinear,
        MaskedPiecewiseRationalQuadraticAutoregressiveTransform,
        RandomPermutation,
    )

    def linear() -> list[nn.Module]:
        return [RandomPermutation(*shape), LULinear(*shape, identity_init=True)]

    parts = []
    for _ in range(10):
        spline = MaskedPiecewiseRationalQuadraticAutoregressiveTransform(
            *shape,
            hidden_features=256,
            num_bins=8,
            tails="linear",
            tail_bound=3,
            num_blocks=2,
            dropout_probability=0.25,
        )
        parts += [*linear(), spline]
    return Nflow(CompositeTransform([*parts, *linear()]), StandardNormal(shape))


def normflows_nsf(shape: tuple[int, ...]) -> nn.Module:
    """https://github.com/VincentStimper/normalizing-flows, examples/neural_spline_flow.ipynb."""
    import normflows as nf

    flows = []
    for _ in range(16):
        flows += [
            nf.flows.AutoregressiveRationalQuadraticSpline(*shape, 2, 128),
            nf.flows.LULinearPermute(*shape),
        ]
    return nf.NormalizingFlow(nf.distributions.DiagGaussian(*shape, trainable=False), flows)


def normflows_realnvp(shape: tuple[int, ...]) -> nn.Module:
    """https://github.com/VincentStimper/normalizing-flows, README and real_nvp_colab.ipynb."""
    import normflows as nf

    kept = (shape[0] + 1) // 2
    flows = []
    for _ in range(32):
        net = nf.nets.MLP([kept, 64, 64, 2 * (shape[0] - kept)], init_zeros=True)
        flows += [nf.flows.AffineCouplingBlock(net), nf.flows.Permute(*shape, mode="swap")]
    return nf.NormalizingFlow(nf.distributions.base.DiagGaussian(*shape), flows)


def normflows_glow(shape: tuple[int, ...]) -> nn.Module:
    """https://github.com/VincentStimper/normalizing-flows, examples/glow_colab.ipynb.

    Without its classes; an image that halves only twice has two of its three levels.
    """
    import normflows as nf

    channels, height, width = shape
    levels = 3 if height % 8 == 0 else 2
    bases, flows = [], []
    for level in range(levels):
        wide = channels * 2 ** (levels + 1 - level)
        blocks = [
            nf.flows.GlowBlock(wide, 256, split_mode="channel", scale=True) for _ in range(16)
        ]
        flows.append([*blocks, nf.flows.Squeeze()])
        half = 2 ** (levels - level)
        left = (wide if level == 0 else wide // 2, height // half, width // half)
        bases.append(nf.distributions.DiagGaussian(left))
    merges = [nf.flows.Merge() for _ in range(levels - 1)]
    flow = nf.MultiscaleFlow(bases, flows, merges, class_cond=False)
    return _Of(flow, _without_classes)


FLOWS = {
    "zuko": Flow(zuko_nsf, 64),
    "zuko:readme": Flow(zuko_readme, 64),
    "nflows": Flow(nflows_nsf, 64, rate=3e-4, clip=5.0, anneals=True),
    "nflows:moons": Flow(nflows_moons, 128),
    "normflows": Flow(normflows_nsf, 512, decay=1e-5),
    "normflows:realnvp": Flow(normflows_realnvp, 512, rate=5e-4, decay=1e-5),
    "normflows:glow": Flow(normflows_glow, 128, decay=1e-5, optimiser=torch.optim.Adamax),
}


class TorchLearner:
    """A documented flow in training."""

    def __init__(self, flow: Flow, problem: Problem) -> None:
        self.batch, self.anneals, self._flow = flow.batch, flow.anneals, flow
        train = problem.part("train") if problem.images else problem.units("train")
        self._train, self._images = torch.from_numpy(np.array(train)), problem.images
        shape = problem.units("test").shape[1:]
        self._module = flow.build(tuple(shape))
        if problem.images:  # ActNorm takes its statistics in the first pass
            self._module.log_prob(self._take(np.arange(flow.batch)))
        parameters = list(self._module.parameters())
        self.parameters = sum(p.numel() for p in parameters if p.requires_grad)
        self._optimiser = flow.optimiser(parameters, lr=flow.rate, weight_decay=flow.decay)

    def _take(self, rows: np.ndarray) -> Tensor:
        x = self._train[torch.from_numpy(rows)]
        if not self._images:
            return x
        x = x.permute(0, 3, 1, 2)
        return (x + torch.rand(x.shape)) / SCALE

    def step(self, rows: np.ndarray, done: float) -> None:
        if self.anneals:
            rate = self._flow.rate * 0.5 * (1 + np.cos(np.pi * done))
            self._optimiser.param_groups[0]["lr"] = rate
        self._optimiser.zero_grad()
        loss = -self._module.log_prob(self._take(rows)).mean()
        if not loss.isfinite():  # such a step is left out, as normflows' examples do
            return
        loss.backward()
        if self._flow.clip:
            nn.utils.clip_grad_norm_(self._module.parameters(), self._flow.clip)
        self._optimiser.step()

    def snapshot(self) -> nn.Module:
        return deepcopy(self._module).eval()

    @torch.no_grad()
    def log_prob(self, flow: nn.Module, x: np.ndarray) -> np.ndarray:
        chunks = torch.from_numpy(x).split(100 if self._images else 1000)
        return torch.cat([flow.log_prob(chunk) for chunk in chunks]).double().numpy()


def run(job: Job, problem: Problem) -> None:
    torch.set_num_threads(1)
    torch.manual_seed(job.seed)
    race(TorchLearner(FLOWS[job.library], problem), problem, job)


if __name__ == "__main__":
    work(run)
