# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#   kernelspec:
#     name: python3
#     display_name: Python 3
# ---

# %% [markdown]
# # Images, in an hour
#
# A flow over images gives each its log-probability, in bits for a pixel's colour, and draws new ones. scikit-learn's 8×8 digits keep this
# page to minutes; a folder of your own photographs goes in the same place: `caudal.train("glow", "photos", resize=32)`.

# %%
import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits

import caudal

digits = load_digits()
images = (digits.images * 255 / 16).round().astype(np.uint8)
order = np.random.default_rng(0).permutation(len(images))
train, other = images[order[:1500]], images[order[1500:]]


def show(rows, title):
    """A grid of gray images."""
    rows = np.asarray(rows)[..., 0] if np.ndim(rows) == 4 else np.asarray(rows)
    figure, axes = plt.subplots(2, 10, figsize=(8, 1.9), layout="constrained")
    for axis, image in zip(axes.flat, rows, strict=False):
        axis.imshow(image, cmap="gray_r", vmin=0, vmax=255)
        axis.axis("off")
    figure.suptitle(title)
    plt.show()


# %% [markdown]
# ## Learn
#
# Glow: squeezes, learned mixing of channels, couplings. Pixels, their noise and their logits are the flow's own business.

# %%
model = caudal.train("glow", train, layers=4, maps=24, steps=400, batch_size=64, seed=0)
print(model.evaluate())

# %% [markdown]
# ## Draw
#
# At temperature 1 samples are those of the density. Below 1 they are tidier, and no longer its samples.

# %%
show(train[:20], "data")
show(model.sample(20, seed=0), "samples")
show(model.sample(20, temperature=0.7, seed=0), "at temperature 0.7")

# %% [markdown]
# ## What does it find unlikely?
#
# Scores of digits it has not seen, of the same upside down, and of noise. Smooth images of any content tend to score well: a likelihood is no
# judge of meaning.

# %%
noise = np.random.default_rng(0).integers(0, 256, other.shape, dtype=np.uint8)
scores = {"digits": other, "upside down": other[:, ::-1], "noise": noise}
bits = {name: -model.log_prob(x) / np.log(2) / 64 for name, x in scores.items()}
figure, axis = plt.subplots(figsize=(7, 2.6), layout="constrained")
for name, values in bits.items():
    axis.hist(values, bins=40, alpha=0.6, label=name, density=True)
axis.set(xlabel="bits/dim; fewer is likelier", ylabel="density of scores")
axis.legend(frameon=False)
plt.show()

# %% [markdown]
# Next: `caudal.train("glow", "digits", context=["class"])` draws a digit of your choice; [images](../docs/images.md) has folders, labels and sizes;
# presets such as `cifar10` are the sizes of the papers, for a GPU.
