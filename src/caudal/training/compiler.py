"""Whether torch.compile can work on this machine."""

import warnings

import torch


def why_not_compile(device: torch.device) -> str | None:
    """The reason why torch.compile fails here, in one line; None if it works.

    Compiles the smallest of functions: the only sure way to meet a missing C++ compiler or Triton
    before training does.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the compiler's own, not ours to mend
            torch.compile(_trifle)(torch.ones(8, device=device))
    except Exception as error:  # noqa: BLE001 - the compiler's own errors share no base
        return str(error).strip().partition("\n")[0][:200]
    return None


def _trifle(x: torch.Tensor) -> torch.Tensor:
    return (2 * x + 1).sum()
