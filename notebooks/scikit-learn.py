# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#   kernelspec:
#     name: python3
#     display_name: Python 3
# ---

# %% [markdown]
# # Flows in scikit-learn, in an hour
#
# Three estimators with the interface you know: `FlowDensity`, as `KernelDensity`; `FlowOutlier`, as `IsolationForest`; and `FlowRegressor`, whose
# predictions are whole distributions. They go into pipelines, searches and cross-validation.

# %%
import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_diabetes
from sklearn.ensemble import IsolationForest
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import cross_val_score, train_test_split
from sklearn.neighbors import KernelDensity
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from caudal.sklearn import FlowDensity, FlowOutlier, FlowRegressor

x, y = load_diabetes(return_X_y=True, scaled=False)
train, test, y_train, y_test = train_test_split(x, y, test_size=0.25, random_state=0)

# %% [markdown]
# ## Density
#
# Scores are mean log-densities, so the two compare directly, as long as the units are the same.

# %%
for name, density in {
    "kernel density": make_pipeline(StandardScaler(), KernelDensity(bandwidth=0.5)),
    "flow": make_pipeline(StandardScaler(), FlowDensity(steps=100, size="small")),
}.items():
    folds = cross_val_score(density, x, cv=3) / (1 if name == "flow" else len(x) / 3)
    print(
        f"{name:15s} {folds.mean():7.2f} nats a row, three folds from {folds.min():.2f} to {folds.max():.2f}"
    )

# %% [markdown]
# ## Outliers
#
# Rows whose columns are shuffled look right one column at a time, and wrong together. A flow sees that.

# %%
shuffled = np.random.default_rng(0).permuted(test, axis=0)
both, wrong = np.vstack([test, shuffled]), np.repeat([0, 1], len(test))
for outlier in (IsolationForest(random_state=0), FlowOutlier(steps=100, size="small")):
    score = -outlier.fit(train).score_samples(both)
    print(f"{type(outlier).__name__:16s} AUC {roc_auc_score(wrong, score):.3f}")

# %% [markdown]
# ## Regression with a distribution
#
# `predict` gives means; `predict_quantile` gives exact quantiles, without drawing. Of 90 % intervals, nine of ten should hold what came true.

# %%
regressor = FlowRegressor(steps=200, size="small").fit(train, y_train)
low, middle, high = regressor.predict_quantile(test, [0.05, 0.5, 0.95]).T
print(
    f"R² {regressor.score(test, y_test):.3f}; within the 90 % interval: {np.mean((low <= y_test) & (y_test <= high)):.1%}"
)

order = np.argsort(middle)
figure, axis = plt.subplots(figsize=(7, 3.2), layout="constrained")
axis.fill_between(range(len(order)), low[order], high[order], alpha=0.25, label="5 % to 95 %")
axis.plot(middle[order], label="median")
axis.plot(y_test[order], ".", color="black", ms=4, label="what came true")
axis.set(xlabel="test patients, by their predicted median", ylabel="progress after a year (score)")
axis.legend(frameon=False)
plt.show()

# %% [markdown]
# Each estimator is a thin coat over a `caudal.Model`, in its `model_`: `regressor.model_.save("runs/diabetes")` keeps it.
# Next: [from Python](../docs/python.md#in-scikit-learn).
