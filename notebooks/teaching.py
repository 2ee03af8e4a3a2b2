# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#   kernelspec:
#     name: python3
#     display_name: Python 3
# ---

# %% [markdown]
# # Flows for a class, in an hour
#
# What a normalizing flow is, seen in the plane: noise becomes data layer by layer, and the density follows by the change of variables
#
# $$\log p(x) = \log p_Z(z) + \log\left|\det \frac{\partial z}{\partial x}\right|.$$

# %%
import matplotlib.pyplot as plt
import torch

import caudal

model = caudal.train("nsf", "moons", layers=4, hidden=32, steps=400, seed=0)
flow = model.flow

# %% [markdown]
# ## A density that integrates to one
#
# The flow's density on a grid, and its sum times the area of a cell.

# %%
side = torch.linspace(-3, 3, 301)
grid = torch.cartesian_prod(side, side)
with torch.no_grad():
    density = flow.log_prob(grid).exp().reshape(301, 301)
print(f"it integrates to {density.sum() * (side[1] - side[0]) ** 2:.4f}")

figure, axis = plt.subplots(figsize=(4.4, 3.4), layout="constrained")
picture = axis.pcolormesh(side, side, density.T, cmap="viridis")
figure.colorbar(picture, label="density (1 / unit²)")
axis.set(xlabel="$x_1$", ylabel="$x_2$", aspect="equal")
plt.show()

# %% [markdown]
# ## Noise becomes data
#
# `caudal.bijection.walk` goes through a flow from data to noise, part by part. Colours are quarters of the noise, and stay with their points.

# %%
from caudal.bijection import walk

with torch.no_grad():
    x = flow.sample(3000, generator=torch.Generator().manual_seed(0))
    stages = [(name, y) for name, part, y, _ in walk(flow.bijection, x) if y.shape == x.shape]
    z = flow.encode(x)
states = [z, *(y for _, y in reversed(stages))]
shown = [states[round(i * (len(states) - 1) / 5)] for i in range(6)]
quarter = (z[:, 0] > 0).int() + 2 * (z[:, 1] > 0).int()
figure, axes = plt.subplots(1, 6, figsize=(12, 2.6), sharey=True, layout="constrained")
for i, (axis, state) in enumerate(zip(axes, shown, strict=True)):
    axis.scatter(*state.T, c=quarter, s=2, cmap="cividis")
    axis.set(
        title="noise" if i == 0 else "data" if i == 5 else "",
        xlim=(-3.5, 3.5),
        ylim=(-3.5, 3.5),
        aspect="equal",
        xlabel="$x_1$",
    )
plt.show()

# %% [markdown]
# ## The log-determinant is that of the Jacobian
#
# A coupling keeps some columns and moves the others: its Jacobian is triangular, so that its determinant is a product. By autograd:

# %%
point = x[:1].double()
flow = flow.double()
z, log_det = flow.bijection.inverse(point)
jacobian = torch.autograd.functional.jacobian(
    lambda x: flow.bijection.inverse(x[None])[0][0], point[0]
)
print(f"flow {log_det.item():.10f}, autograd {torch.linalg.slogdet(jacobian)[1].item():.10f}")

# %% [markdown]
# ## Exercises
#
# 1. Train `"nice"` on the same moons. Why is its density one, and why is it worse?
# 2. Train with `layers=1`. What can one coupling not do?
# 3. `caudal.train("maf", "moons")` and `caudal.train("iaf", "moons")`: which is fast in which direction, and why?
#
# [The lecture](../docs/lecture.md) goes from here to a WaveNet that teaches a student; *[en español](../docs/es/clase.md).*
