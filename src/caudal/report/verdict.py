"""What a student's numbers mean, in plain words."""

from caudal.report.fidelity import Fidelity
from caudal.report.numbers import number

HEAVY = 0.7  # Pareto k from which PSIS no longer relies on a mean of weights
MISSES = 0.01  # of the teacher's rows
TWICE = 2.0  # one divergence over the other: small ones are nearly equal both ways
TAME = 0.2  # effective share from which weights are even, where the student draws at all
NOTICED = 0.3  # nats a row
GOOD, USABLE = 0.9, 0.1  # effective shares


def verdict(fidelity: Fidelity) -> list[str]:
    """What is wrong with a student and what to try; else what it is good for. A line each."""
    faults = (_misses(fidelity), _heavy(fidelity), _wide(fidelity), _zero(fidelity))
    return [fault for fault in faults if fault] or [_use(fidelity)]


def _misses(f: Fidelity) -> str:
    """Rows of the teacher that the student hardly draws: modes, or all that is not its middle.

    Where modes are gone, the weights of what is drawn are even: the student fits the others.
    Where it is too narrow, they grow from the middle outwards.
    """
    if not (f.missed > MISSES and f.forward_kl > TWICE * f.reverse_kl):
        return ""
    how = (
        f"it hardly ever draws {f.missed:.1%} of the teacher's rows (forward KL "
        f"{_nats(f.forward_kl)} nats, reverse {_nats(f.reverse_kl)})"
    )
    if f.ess >= TAME and not f.pareto_k > HEAVY:
        return f"dropped modes: {how}; train it on the teacher's samples (forward KL) as well"
    return (
        f"collapsed, too narrow: {how}; train it on the teacher's samples (forward KL) as well, "
        f"or at a lower learning rate"
    )


def _heavy(f: Fidelity) -> str:
    if not f.pareto_k > HEAVY or _misses(f):
        return ""
    return (
        f"heavy weights: Pareto k {number(f.pareto_k, 2)} > {HEAVY}, its tails are too light in "
        f"places, so weighted and corrected samples are not to be relied on; train it longer with "
        f"some forward KL, or with more layers"
    )


def _wide(f: Fidelity) -> str:
    if not (f.reverse_kl > max(NOTICED, TWICE * f.forward_kl)):
        return ""
    return (
        f"too wide: it draws rows that the teacher hardly has (reverse KL "
        f"{_nats(f.reverse_kl)} nats, forward {_nats(f.forward_kl)}); train it longer, with "
        f"more weight on the reverse KL, or correct its samples (caudal sample --exact)"
    )


def _zero(f: Fidelity) -> str:
    if f.forward_kl < float("inf") or _misses(f):
        return ""
    return (
        "zero density: some rows of the teacher have density 0 under the student, which makes the "
        "forward KL infinite; check that both have the same supports, or train it in float64"
    )


def _use(f: Fidelity) -> str:
    """What a student without a fault is good for."""
    apart = f.auc - 2 * f.auc_se > 0.5
    facts = (
        f"reverse KL {_nats(f.reverse_kl)} nats, effective size {f.ess:.0%}, "
        f"AUC {number(f.auc)} ± {number(2 * f.auc_se)}"
    )
    if f.ess >= GOOD and not apart:
        return f"good: {facts}; its samples can stand for the teacher's, as they are"
    if f.ess >= USABLE:
        seen = "a classifier tells them apart" if apart else "no classifier told them apart"
        return (
            f"good as a proposal: {facts}; {seen}, so use its samples as they are where that "
            f"does not matter, and corrected (caudal sample --exact) where it does"
        )
    return f"not there yet: {facts}; train it longer, or with more layers"


def _nats(value: float) -> str:
    return number(round(value, 3) + 0.0)  # an estimate of 0 is not -0.000
