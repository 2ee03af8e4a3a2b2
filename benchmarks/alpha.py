"""The alpha-divergence of FAB beside the likelihood of chains, after equal steps.

    OMP_NUM_THREADS=1 python benchmarks/alpha.py

With alpha = 2 the divergence is E_p[p/q] up to constants, and its gradient weighs the likelihood
of each chain x by p(x) / q(x), here normalised over the batch, as FAB (arXiv:2208.01893) does with
its replay buffer. The chains, their moves and jumps, the flow and the steps are the same; only the
loss changes. 40 Gaussians by `caudal train` with the size medium, many-well by a plain flow, as
one that begins at the columns' distributions is that product at once. The table goes to the
screen.
"""

import time
from collections.abc import Mapping

import torch
from torch import Tensor

import caudal
from caudal import Training, Variational
from caudal.targets import FortyGaussians, ManyWell, Target, log_density_of
from caudal.training.density_terms import DensityTerms
from caudal.weights import effective_share
from energies import DRAWS, Fitted, forward

_PLAIN = DensityTerms.terms


def with_alpha(share: float) -> None:
    """Makes so large a share of the forward term that of the alpha-divergence."""

    def terms(self: DensityTerms, x: Tensor, context: Tensor | None) -> Mapping[str, Tensor]:
        plain = dict(_PLAIN(self, x, context))
        if share and torch.is_grad_enabled():
            log_q = self.flow.log_prob(x)
            weights = (log_density_of(self.log_density, x) - log_q).detach().softmax(0)
            plain["forward"] = (1 - share) * plain["forward"] - share * (weights * log_q).sum()
        return plain

    DensityTerms.terms = terms  # type: ignore[method-assign]


def forty_gaussians() -> caudal.Flow:
    name = "density:forty-gaussians"
    return caudal.train("nsf", name, steps=250, size="medium", patience=0).flow


def many_well() -> caudal.Flow:
    torch.manual_seed(0)
    flow = caudal.recipes.NSF().build((ManyWell.features,))
    steps = {"steps": 500, "batch_size": 256, "lr": 2e-3, "patience": 0, "validate_every": 100}
    options = Variational(particles=4096)
    caudal.fit_density(flow, ManyWell(), options=options, training=Training(**steps))
    return flow


def row(target: Target, flow: caudal.Flow, share: float, seconds: float) -> str:
    torch.manual_seed(1)
    with torch.no_grad():
        x, log_q = flow.sample_with_log_prob(DRAWS)
        log_w = target(x.double()) - log_q.double()
    found = forward(target, Fitted(flow.sample_with_log_prob, flow.log_prob, seconds, 0))
    sizes = f"{effective_share(log_w):.1%} | {found['forward_ess']:.1%}"
    return f"| {target.name} | {share:g} | {sizes} | {found['forward_kl']:.3f} | {seconds:.0f} |"


def main() -> None:
    torch.set_num_threads(1)
    print("| target | share of alpha | reverse ESS | forward ESS | KL(p‖q) | CPU s |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    cases = [(FortyGaussians, forty_gaussians, (0, 0.5, 1)), (ManyWell, many_well, (0, 1))]
    for kind, fit, shares in cases:
        for share in shares:
            with_alpha(share)
            start = time.process_time()
            flow = fit()
            print(row(kind(), flow, share, time.process_time() - start), flush=True)


if __name__ == "__main__":
    main()
