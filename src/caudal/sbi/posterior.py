"""The posterior that simulations have taught: one flow, or the mean of several."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution

from caudal.errors import InputError
from caudal.files import path_of
from caudal.flow import Flow
from caudal.model import Model, load
from caudal.report.calibration import Calibration, calibration
from caudal.training.checkpoint import MODEL

EMBEDDED = (
    "`embedding`: a file cannot name a net of your own: put it into a function that builds a flow "
    "given such observations, with @caudal.recipe above it, and give that as `recipe`"
)


class Posterior:
    """The posterior q(theta | x) = mean over members of q_m(theta | x), for any observation.

    Attributes:
        prior: from which the parameters of the simulations were; None if it was loaded without.
        members: the flows, conditional on observations.
    """

    def __init__(self, prior: Distribution | None, members: Sequence[Flow]) -> None:
        self.prior = prior
        self.members = list(members)

    def __repr__(self) -> str:
        (features,), observed = self.members[0].event_shape, self.members[0].context_shape
        return f"Posterior({features} parameters given {observed}, {len(self.members)} flows)"

    def sample(self, x: Any, n: int, *, seed: int | None = None) -> Tensor:
        """N parameters (n, D) given one observation, all within the support of the prior."""
        generator = torch.Generator()
        if seed is not None:
            generator.manual_seed(seed)
        else:
            generator.seed()
        return self.draws(self._observation(x), n, generator)

    def log_prob(self, theta: Any, x: Any) -> Tensor:
        """Log-density of parameters (N, D) in nats, (N,), given one observation, or N of them.

        It is -inf outside the support of the prior.
        """
        theta = torch.as_tensor(theta, dtype=torch.float32)
        x = _finite(torch.as_tensor(x, dtype=torch.float32))
        if x.ndim == len(self.members[0].context_shape or ()):
            x = x.expand(len(theta), *x.shape)
        with torch.no_grad():
            each = torch.stack([member.log_prob(theta, x) for member in self.members])
        return each.logsumexp(0) - math.log(len(each))

    def calibrate(self, theta: Any, x: Any, *, draws: int = 200, seed: int = 0) -> Calibration:
        """How well it is calibrated, by simulations that it was not trained on.

        Args:
            theta: their parameters (N, D), from the prior.
            x: their observations (N, ...).
            draws: of the posterior for each of them.
            seed: of the draws.
        """
        theta = torch.as_tensor(theta, dtype=torch.float32)
        x = torch.as_tensor(x, dtype=torch.float32)
        return calibration(self, theta, x, draws, torch.Generator().manual_seed(seed))

    def save(self, folder: str | Path, *, overwrite: bool = False) -> Path:
        """Writes a run folder, of an ensemble a folder for each member in it; gives the folder.

        Raises:
            InputError: a run is there already, or the flows have an embedding net of your own.
        """
        path = path_of(folder, "folder")
        if any(member.origin is None for member in self.members):
            raise InputError(EMBEDDED)
        check_out(path, len(self.members))
        for number, member in enumerate(self.members):
            own = folder_of(path, number, len(self.members))
            Model(member).save(own, overwrite=overwrite)
        return path

    @classmethod
    def load(cls, folder: str | Path, prior: Distribution | None = None) -> "Posterior":
        """The posterior that `save`, or `caudal.npe(..., out=folder)`, left in a folder.

        Args:
            folder: the folder.
            prior: its prior, which the folder does not keep; its support is in the flows.

        Raises:
            InputError: no posterior is there, or a file is damaged.
        """
        folders = members_in(path_of(folder, "folder"))
        return cls(prior, [load(each).flow for each in folders])

    def draws(self, x: Tensor, n: int, generator: torch.Generator) -> Tensor:
        """N parameters given one observation, (n, D); the members' shares are random."""
        chosen = torch.randint(len(self.members), (n,), generator=generator)
        counts = torch.bincount(chosen, minlength=len(self.members)).tolist()
        parts = [
            member.sample(count, x, generator=generator)
            for member, count in zip(self.members, counts, strict=True)
        ]
        return torch.cat(parts)[torch.randperm(n, generator=generator)]

    def _observation(self, x: Any) -> Tensor:
        """One observation, which may stand in a batch of one."""
        x, shape = torch.as_tensor(x, dtype=torch.float32), self.members[0].context_shape
        x = x[0] if tuple(x.shape[1:]) == shape and len(x) == 1 else x
        if tuple(x.shape) != shape:
            raise InputError(f"`x` must be one observation of shape {shape}, got {tuple(x.shape)}")
        return _finite(x)


def _finite(x: Tensor) -> Tensor:
    """Observations without a number that is not finite, of which nothing could follow."""
    if not torch.isfinite(x).all():
        raise InputError("`x` has a number that is not finite: nothing follows from it")
    return x


def members_in(path: Path) -> list[Path]:
    """The run folders of a posterior: the folder itself, or those numbered in it."""
    numbered = (each for each in path.glob("*") if each.name.isdecimal())
    found = sorted(numbered, key=lambda each: int(each.name))
    return [path] if (path / MODEL).exists() or not found else found


def check_out(path: Path, members: int) -> None:
    """Refuses a folder with a posterior of another number of flows, whose flows would be mixed.

    Raises:
        InputError: says so.
    """
    own = [folder_of(path, number, members) for number in range(members)]
    others = [each for each in members_in(path) if (each / MODEL).exists() and each not in own]
    if others:
        raise InputError(
            f"{path} holds a posterior of another number of flows: remove it, or choose another "
            f"folder"
        )


def folder_of(path: Path, member: int, members: int) -> Path:
    """The run folder of a member, counted from 0, of so many."""
    return path if members == 1 else path / str(member + 1)
