# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#   kernelspec:
#     name: python3
#     display_name: Python 3
# ---

# %% [markdown]
# # Sound, in an hour
#
# A WaveNet gives each sample of a clip its density given those before it; together that is the clip's, exactly. Here it learns five built-in vowels given their
# label, in minutes. A folder of recordings goes in the same place: `caudal.train("wavenet", "speech")`, given their spectra.

# %%
import matplotlib.pyplot as plt
import numpy as np

import caudal


def spectrogram(axis, sound, title):
    """Draws what frequencies a sound has, over its time."""
    axis.specgram(np.ravel(sound.samples), NFFT=256, Fs=sound.rate, noverlap=192, cmap="magma")
    axis.set(xlabel="time (s)", ylabel="frequency (Hz)", title=title)


# %% [markdown]
# ## Learn

# %%
model = caudal.train(
    "wavenet", "vowels", context=["vowel"], layers=8, cycle=8, channels=16, steps=300, seed=0
)
print(model.evaluate(limit=50))

# %% [markdown]
# ## Draw
#
# Samples come one after the other, in a compiled loop if `caudal[fast]` is there. The vowel is given. After so short
# a training they are whispered: the formants, by which vowels differ, are there, and the pitch is not yet.

# %%
figure, axes = plt.subplots(1, 3, figsize=(9, 2.8), layout="constrained")
sounds = {}
for axis, vowel in zip(axes, "aiu", strict=True):
    (sounds[vowel],) = model.sample(1, seconds=0.5, given={"vowel": vowel}, seed=0)
    spectrogram(axis, sounds[vowel], f"drawn: {vowel}")
plt.show()

# %%
try:
    from IPython.display import Audio, display

    for sound in sounds.values():
        display(Audio(np.ravel(sound.samples), rate=sound.rate))
except ImportError:
    pass

# %% [markdown]
# ## Which vowel is it?
#
# The density given each label is a classifier for nothing: the vowel under which a clip is likeliest. `evaluate` tells how often that is right,
# above, where it says *given its label*.
#
# Next: `caudal distill` makes a student that draws all samples at once; [sound](../docs/audio.md) has spectra, floors, and what is told of copies.
