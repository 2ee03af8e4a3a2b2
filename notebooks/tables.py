# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#   kernelspec:
#     name: python3
#     display_name: Python 3
# ---

# %% [markdown]
# # A table, in an hour
#
# A flow learns the joint density of all columns of a table. From that one thing follow scores of new rows, reasons why a row is unusual, new rows, and
# values for the gaps of old ones. The table here is scikit-learn's diabetes data: 442 patients, their age, sex, blood values, and
# how far the disease had gone a year later. Put the path of your own CSV file in its place.

# %%
import matplotlib.pyplot as plt
from sklearn.datasets import load_diabetes

import caudal

people = load_diabetes(scaled=False, as_frame=True).frame.rename(columns={"target": "progress"})
people["sex"] = people["sex"].astype(int)
people.head(3)

# %% [markdown]
# ## Learn
#
# Nothing is scaled or encoded first: each column's kind is guessed, and what was guessed is told. `minutes=5` would be the
# clock; steps are given here, so that this page comes out the same on any machine.

# %%
model = caudal.train("nsf", people, steps=200, size="small", seed=0)
print("\n".join(f"{column.name}: {column.kind}" for column in model.schema.columns))

# %% [markdown]
# ## Is it any good?
#
# A log-likelihood alone says little. Beside it stand a Gaussian and the Gaussian copula, the classical models of a table. From 442 rows a flow
# can learn little beyond the copula; from 20,000 it can. In both cases this table tells you.

# %%
print(model.evaluate())

# %% [markdown]
# ## New rows
#
# Samples are a DataFrame again. Below, `bmi` against the progress of the disease: in the data, in samples, and in samples given a value of a column.

# %%
new = model.sample(400, seed=0)
heavy = model.sample(100, given={"bmi": 35.0}, seed=0)
figure, axes = plt.subplots(1, 2, figsize=(8, 3.4), layout="constrained")
axes[0].scatter(people["bmi"], people["progress"], s=8, alpha=0.6, label="data")
axes[0].scatter(new["bmi"], new["progress"], s=8, alpha=0.6, label="samples")
axes[0].set(xlabel="body mass index (kg/m²)", ylabel="progress after a year (score)")
axes[0].legend(frameon=False)
axes[1].hist(people["progress"], bins=20, density=True, alpha=0.6, label="all patients")
axes[1].hist(heavy["progress"], bins=20, density=True, alpha=0.6, label="samples given bmi = 35")
axes[1].set(xlabel="progress after a year (score)", ylabel="density")
axes[1].set_ylim(top=0.0095)
axes[1].legend(frameon=False)
plt.show()

# %% [markdown]
# ## Which rows are unusual, and why?
#
# `log_prob` scores rows; `explain` says which columns are to blame, by how many nats each is less likely, given the others, than it usually is.

# %%
scores = model.log_prob(people)
print(people.assign(log_prob=scores).nsmallest(3, "log_prob").T.round(2))
model.explain(people, n=2).groupby("row").head(2)

# %% [markdown]
# ## Gaps
#
# `impute` draws what is missing, given all that is there, and leaves the rest alone. Draw several times to see how sure that is.

# %%
gaps = people.head(4).copy()
gaps.loc[[0, 2], "bmi"] = None
model.impute(gaps, draws=3, seed=0)

# %% [markdown]
# ## Keep it
#
# A run is a folder, with a card that says what is in it; the file of the model loads anywhere, and runs no code.
#
# ```python
# model.save("runs/patients")
# caudal.load("runs/patients").sample(5)
# ```
#
# Next: `caudal train --data people.csv` does all of this on the command line, and leaves a report; [tables](../docs/tables.md) has what columns can be.
