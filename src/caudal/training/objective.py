"""What a student learns from its teacher: the loss that every way of distillation derives."""

import copy
from abc import abstractmethod
from collections.abc import Mapping
from typing import ClassVar, Protocol

from torch import Tensor

from caudal.data.source import Source
from caudal.flow import Flow
from caudal.losses import Terms
from caudal.training.dressing import check_dressed_alike, undressed_pair
from caudal.training.options import Training


class Objective(Terms):
    """What a student learns from its teacher, term by term.

    Both flows share events and contexts, and are dressed alike.

    Attributes:
        student: undressed, sharing the modules of the flow that is trained.
        teacher: an undressed copy, frozen; gradients reach the student through its input.
        dressed: the frozen copy, with its dressing.
        words: what each term is called, for the user.

    Raises:
        InputError: the two flows do not go together.
    """

    words: ClassVar[Mapping[str, str]]

    def __init__(self, student: Flow, teacher: Flow) -> None:
        check_dressed_alike(student, teacher)
        self.latest = {}
        self.dressed = copy.deepcopy(teacher).requires_grad_(False).eval()
        self.student, self.teacher = undressed_pair(student, self.dressed)

    @property
    def described(self) -> list[str]:
        """What is minimised, in words."""
        return [
            self.words[name] if weight == 1 else f"{weight:g} {self.words[name]}"
            for name, weight in self.weights.items()
        ]

    @abstractmethod
    def rows(
        self, train: Source | None, valid: Source | None, training: Training
    ) -> tuple[Source, Source]:
        """Rows to learn from and to validate on, made from the data of the teacher, if any.

        Raises:
            InputError: it takes data, and there are none.
        """

    def follow(self, x: Tensor) -> None:
        """Moves everything that training has not moved to the device and the precision of x."""
        for flow in (self.student, self.teacher, self.dressed):
            like = flow.base.like
            if (like.device, like.dtype) != (x.device, x.dtype):
                flow.to(x)


class Lesson(Protocol):
    """The options of an objective: `Distillation`, `AudioDistillation`, or a user's own."""

    training: ClassVar[Training]

    def objective(self, student: Flow, teacher: Flow) -> Objective:
        """The loss of a student of this teacher."""
