# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#   kernelspec:
#     name: python3
#     display_name: Python 3
# ---

# %% [markdown]
# # Inference, in an hour
#
# Two situations. You have a simulator, and want its parameters given an observation. Or you have a density known up to its constant, and want
# samples of it. A flow does both, and says how far it is to be trusted.

# %%
import matplotlib.pyplot as plt
import torch
from torch.distributions import Independent, Uniform

import caudal

torch.manual_seed(0)

# %% [markdown]
# ## A simulator
#
# Two parameters, and an observation that two crescents of them explain equally well.

# %%
prior = Independent(Uniform(-torch.ones(2), torch.ones(2)), 1)


def simulator(theta):
    angle = torch.pi * (torch.rand(len(theta)) - 0.5)
    radius = 0.1 + 0.01 * torch.randn(len(theta))
    crescent = torch.stack([radius * angle.cos() + 0.25, radius * angle.sin()], dim=1)
    a, b = theta.unbind(1)
    return crescent + torch.stack([-(a + b).abs(), b - a], dim=1) / 2**0.5


posterior = caudal.npe(prior, simulator, simulations=3000, training=caudal.Training(steps=400))
theta = posterior.sample(torch.zeros(2), 2000, seed=0)

# %%
figure, axis = plt.subplots(figsize=(3.6, 3.4), layout="constrained")
axis.plot(*theta.T, ".", ms=2)
axis.set(xlabel="first parameter", ylabel="second parameter", title="posterior given (0, 0)")
axis.set(xlim=(-1, 1), ylim=(-1, 1), aspect="equal")
plt.show()

# %% [markdown]
# **Can it be trusted?** Draw parameters from the prior, simulate, and see where the truth falls among the posterior's samples: anywhere alike. A small
# p-value is a reason to simulate more, or to train longer, before the posterior is used.

# %%
truth = prior.sample((200,))
calibration = posterior.calibrate(truth, simulator(truth), draws=100)
print("\n".join(calibration.sentences()))

# %% [markdown]
# ## A density without data
#
# The banana is known up to its constant. Chains carry it to the flow; then importance weights tell what is left to correct.

# %%
target = caudal.targets.Banana()
flow = caudal.recipes.NSF(layers=3, hidden=32).build(event_shape=(2,))
caudal.fit_density(flow, target, training=caudal.Training(steps=300))
print(caudal.evaluate_density(flow, target, draws=2000))

# %%
drawn = flow.eval().sample(2000)
figure, axis = plt.subplots(figsize=(4.4, 3.2), layout="constrained")
axis.plot(*drawn.detach().T, ".", ms=2)
axis.set(xlabel="$x_1$", ylabel="$x_2$", title="samples of the flow")
plt.show()

# %% [markdown]
# Next: [simulators](../docs/neighbours.md#simulation-based-inference), with embedding nets and ensembles; [densities](../docs/densities.md) of your own;
# your flows of zuko, nflows or normflows by `caudal.convert`.
