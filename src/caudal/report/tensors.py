"""The report of a flow of plain tensors: as of a table, and calibration given a context."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch

from caudal.report.calibration import Calibration, Given, calibration
from caudal.report.items import place, some_rows
from caudal.report.page import Contents, Picture, Section, Story, render
from caudal.report.table.teller import TableTeller

_ROWS, _DRAWS = 200, 100  # test rows, and draws of each
_STEPS = 16  # of a flow that samples one column at a time, at most


@dataclass(frozen=True)
class TensorTeller(TableTeller):
    """Tells the story of a run on plain tensors."""

    def tell(self, story: Story) -> Contents:
        contents = super().tell(story)
        pictures, sections = [], []
        for found in _calibration(story):
            title = "Calibration"
            caption = CAPTION.format(rows=len(found.levels))
            pictures = render([("calibration", title, caption, found.figure())])
            blocks: list[str | Picture] = [*found.sentences(), *pictures]
            sections = [Section(title, caption, [found.table(), *blocks])]
        return replace(
            contents,
            sections=[*sections, *contents.sections],
            pictures=[*pictures, *contents.pictures],
        )


CAPTION = (
    f"For {{rows}} test rows, {_DRAWS} draws each given their context. If the flow is right, the "
    f"true values have uniform ranks among the draws (simulation-based calibration), and a region "
    f"of highest density of 90 % holds nine of ten. Lines are differences to the uniform law; "
    f"those of a calibrated flow stay within the band in 99 of 100 cases."
)


def _calibration(story: Story) -> Iterator[Calibration]:
    """The flow's calibration, unless it has no context, is noisy, or takes long to sample."""
    flow, test = story.flow, story.dataset.test
    slow = story.recipe.samples == "sequential" and flow.event_shape[0] > _STEPS
    if flow.context_shape is None or slow or flow.noisy:
        return
    x, context = place(flow, next(some_rows(test, _ROWS).ordered(_ROWS)))
    assert context is not None
    generator = torch.Generator(x.device).manual_seed(0)
    yield calibration(Given(flow), x, context, _DRAWS, generator)
