"""Importance weights: their mean, effective size, tail index, smoothing, distance left."""

import math

import torch
from torch import Tensor

FEWEST = 5  # weights in a tail: fewer do not determine its shape
FLAT = 1e-2  # nats: a tail no longer than this is little more than rounding
FAINT = 1e-200  # share of the largest weight: weights that underflow count as small, not as 0
PRIOR_WEIGHTS, PRIOR_K = 10, 0.5  # the weak prior of PSIS: equal to ten weights of index 0.5


def effective_share(log_w: Tensor) -> float:
    """Effective sample size as a share of n: (sum w)^2 / (n sum w^2), from log w (n,) in nats.

    With weights w, n rows estimate a mean about as well as share * n rows of the target would. The
    share is 1 for equal weights, 1/n for a single one, and 0 if every weight is 0.
    Reference: Kong, Liu, Wong, Sequential imputations and Bayesian missing data problems, 1994.
    """
    log_w = log_w.double()
    if bool((log_w == -torch.inf).all()):
        return 0.0
    first, second = log_w.logsumexp(0), (2 * log_w).logsumexp(0)
    return min(1.0, float((2 * first - second).exp()) / len(log_w))


def log_mean(log_w: Tensor) -> tuple[float, float]:
    """The log of the mean of w, and its standard error in nats, from log w (n,).

    With w = exp(t) / q at draws of q it estimates log Z of the density exp(t) / Z. The error is
    sqrt((1 / share - 1) / n) by the delta method, share = `effective_share`; it knows only of
    weights that were drawn. It is inf if every weight is 0.
    """
    share = effective_share(log_w)
    if share == 0:
        return -math.inf, math.inf
    mean = float(log_w.double().logsumexp(0)) - math.log(len(log_w))
    return mean, math.sqrt(max(1 / share - 1, 0.0) / len(log_w))


def pareto_k(log_w: Tensor) -> float:
    """Tail index k of the largest weights, from log w (n,) in nats.

    A generalised Pareto density p(t) = (1 + k t / sigma)^(-1 - 1/k) / sigma is fitted to the
    min(n / 5, 3 sqrt(n)) largest weights, minus the next one. Moments of w above 1/k do not exist:
    up to 0.5 the variance is finite, up to 0.7 estimates are useful, from 1 on there is not even a
    mean. The index is -inf if the largest weights are equal, inf if too few of them are above 0,
    and NaN for fewer than 21 rows. Weights know nothing of regions that the proposal never draws.
    Reference: Pareto smoothed importance sampling (Vehtari, Simpson, Gelman, Yao, Gabry, 2024),
    arXiv:1507.02646.
    """
    log_w = log_w.double().sort().values
    size = _tail(log_w)
    if size < FEWEST:
        return math.nan
    cutoff, tail = log_w[-size - 1], log_w[-size:]
    top = tail[-1]
    if top == -torch.inf:
        return math.inf
    if top - cutoff < FLAT:
        return -math.inf
    tail = tail[tail > cutoff]
    if len(tail) < FEWEST:
        return math.inf
    excess = (tail - top).exp() - (cutoff - top).exp()
    return _fit(excess.clamp(min=FAINT))[0]


def smoothed(log_w: Tensor) -> Tensor:
    """Log w (n,) whose largest weights are those of the fitted generalised Pareto density, (n,).

    The j-th of the M weights of the tail becomes the quantile at (j - 1/2) / M, but no more than
    the largest weight there was: so single weights decide less, at the price of a small bias. The
    weights are as they were where `pareto_k` is not a finite number.
    Reference: as `pareto_k`.
    """
    k, log_w = pareto_k(log_w), log_w.double()
    if not math.isfinite(k):
        return log_w
    order = log_w.argsort()
    size = _tail(log_w)
    tail, top = order[-size:], log_w.max()
    cutoff = (log_w[order[-size - 1]] - top).exp()
    excess = (log_w[tail] - top).exp() - cutoff
    sigma = _fit(excess[excess > 0].clamp(min=FAINT))[1]
    level = (torch.arange(1, size + 1, dtype=log_w.dtype, device=log_w.device) - 0.5) / size
    quantile = -(1 - level).log() if k == 0 else torch.expm1(-k * torch.log1p(-level)) / k
    values = (cutoff + sigma * quantile).clamp(max=1).log() + top
    return log_w.index_copy(0, tail, values)


def _tail(log_w: Tensor) -> int:
    """How many weights count as the largest ones."""
    return math.ceil(min(0.2 * len(log_w), 3 * math.sqrt(len(log_w))))


def _fit(excess: Tensor) -> tuple[float, float]:
    """The k and sigma of a generalised Pareto density fitted to sorted excesses t (n,) > 0.

    With theta = -k / sigma, k(theta) = mean log(1 - theta t) has the highest likelihood; theta is
    averaged over a grid, with the profile likelihood as weight.
    Reference: Zhang, Stephens, A new and efficient estimation method for the generalized Pareto
    distribution, Technometrics, 2009; k has the opposite sign there.
    """
    n = len(excess)
    points = 30 + math.isqrt(n)
    grid = torch.arange(1, points + 1, dtype=excess.dtype, device=excess.device) - 0.5
    quartile = excess[int(n / 4 + 0.5) - 1]
    theta = 1 / excess[-1] + (1 - (points / grid).sqrt()) / (3 * quartile)
    k = (-theta.unsqueeze(1) * excess).log1p().mean(1)
    likelihood = n * ((-theta / k).log() - k - 1)
    best = (likelihood.softmax(0) * theta).sum()
    fitted = float((-best * excess).log1p().mean())
    k_with_prior = (n * fitted + PRIOR_WEIGHTS * PRIOR_K) / (n + PRIOR_WEIGHTS)
    return k_with_prior, float(-fitted / best)


def distance_left(log_w: Tensor, steps: int) -> float:
    """Bound of the total variation between q, after `steps` of independence Metropolis, and p.

    It is computed from log w = log p - log q (n,) at draws of q. A row of weight v rejects a
    proposal with probability r(v) = 1 - E_q min(1, w / v), and the distance after t steps is at
    most E_q max(w - 1, 0) r(w)^t; without steps, that is the distance of q itself. The proof
    couples two chains, from q and from p. They start at the same point where they can, share
    proposals and uniforms, and coincide as soon as the one of higher weight, that from p, accepts.
    Both expectations are over the observed weights: a mode of p that q never draws does not
    count.
    Reference: Smith, Tierney, Exact transition probabilities for the independence Metropolis
    sampler, 1996, which has r as the spectrum of the chain.
    """
    if bool((log_w == -torch.inf).all()):
        return 1.0
    w = (log_w.double() - log_w.double().max()).exp().sort().values
    w = w / w.mean()
    lower = w.cumsum(0) / w.clamp(min=torch.finfo(w.dtype).tiny)  # sum of min(1, w' / w), w' <= w
    higher = torch.arange(len(w) - 1, -1, -1, dtype=w.dtype, device=w.device)
    rejects = (1 - (lower + higher) / len(w)).clamp(min=0)
    return float(((w - 1).clamp(min=0) * rejects**steps).mean())
