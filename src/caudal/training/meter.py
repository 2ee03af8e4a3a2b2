"""The numbers that steps leave, and their means: of a point of the curve, of a validation."""

from collections.abc import Mapping

import torch
from torch import Tensor


class Meter:
    """Means over the steps since the last point of the curve, and since the last validation.

    Reading a number from a GPU waits for it, so the steps only leave their scalars here.
    """

    def __init__(self) -> None:
        self.losses: list[Tensor] = []
        self.norms: list[Tensor] = []
        self._terms: list[Mapping[str, Tensor]] = []  # of the steps since the last point
        self._sums = [0.0, 0.0]  # of losses and norms drained since the last validation
        self._count = 0
        self._checked = 0  # how many of `losses` were checked

    def add(self, loss: Tensor, norm: Tensor, terms: Mapping[str, Tensor] | None = None) -> None:
        """Takes the scalars of one step, and the terms of its loss if it has several."""
        self.losses.append(loss)
        self.norms.append(norm)
        if terms:
            self._terms.append(terms)

    def unchecked(self) -> list[float]:
        """Loss plus norm, finite if both are, for the steps since the last call (or drain)."""
        losses, norms = self.losses[self._checked :], self.norms[self._checked :]
        self._checked = len(self.losses)
        if len(losses) <= 1:
            return [float(loss + norm) for loss, norm in zip(losses, norms, strict=True)]
        return (torch.stack(losses) + torch.stack(norms)).tolist()

    def drain(self) -> tuple[float, float]:
        """Mean loss and mean norm since the last call."""
        count = len(self.losses)
        pending = torch.stack([torch.stack(self.losses), torch.stack(self.norms)])
        loss, norm = pending.cpu().double().sum(1).tolist()
        self._sums = [self._sums[0] + loss, self._sums[1] + norm]
        self._count += count
        self.losses, self.norms, self._checked = [], [], 0
        return loss / count, norm / count

    def drain_terms(self) -> dict[str, float]:
        """Mean of each term of the loss since the last call, as `train_NAME`."""
        taken, self._terms = self._terms, []
        names = taken[0] if taken else ()
        return {
            f"train_{name}": float(torch.stack([terms[name] for terms in taken]).mean())
            for name in names
        }

    def validation(self) -> tuple[float, float]:
        """Mean loss and mean norm since the last validation."""
        if self.losses:
            self.drain()
        loss, norm = (total / max(self._count, 1) for total in self._sums)
        self._sums, self._count = [0.0, 0.0], 0
        return loss, norm

    def state_dict(self) -> dict[str, object]:
        """Everything the meter holds, as plain numbers."""
        return {
            "losses": [float(loss) for loss in self.losses],
            "norms": [float(norm) for norm in self.norms],
            "sums": self._sums,
            "count": self._count,
            "terms": [{k: float(v) for k, v in terms.items()} for terms in self._terms],
        }

    def load_state_dict(self, state: dict, like: Tensor) -> None:
        """Restores a `state_dict`; `like` has the device and the precision."""
        self.losses = [like.new_tensor(loss) for loss in state["losses"]]
        self.norms = [like.new_tensor(norm) for norm in state["norms"]]
        self._sums, self._count = list(state["sums"]), state["count"]
        held = state.get("terms", [])  # missing in states of older versions
        self._terms = [{k: like.new_tensor(v) for k, v in terms.items()} for terms in held]
        self._checked = len(self.losses)


def is_point(step: int) -> bool:
    """Whether the curve has a point after `step` steps: about 128 for each doubling of them."""
    return step % (1 << max(0, step.bit_length() - 8)) == 0
