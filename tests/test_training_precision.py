"""A flow whose scores are rounding errors does not count as best."""

import pytest
import torch
from torch import nn

from caudal import Chain, Flow, fit, initialize
from caudal.base import Normal
from caudal.bijection import Bijection, Inverse
from caudal.bijections import Residual, Standardise
from caudal.data.source import Batch
from caudal.numerics import Truncated
from caudal.recipes.registry import REGISTERED
from caudal.training.options import Training
from caudal.training.precision import precision_gap
from caudal.training.progress import Silent
from contractions import Contraction
from image_flows import rows_of, schema_of, tiny_flow


class Narrow(Bijection):
    """z = (x0, exp(s) (x0 / 10 - x1)): what it learns is how near x1 is to a tenth of x0."""

    def __init__(self, s=0.0):
        super().__init__()
        self.s = nn.Parameter(torch.tensor(s))

    def inverse(self, x, context=None):
        across = (x[:, 0] * 0.1 - x[:, 1]) * self.s.exp()
        return torch.stack([x[:, 0], across], 1), self.s.expand(len(x))

    def forward(self, z, context=None):
        x1 = z[:, 0] * 0.1 - z[:, 1] * (-self.s).exp()
        return torch.stack([z[:, 0], x1], 1), -self.s.expand(len(z))


def narrow_rows(n):
    """x1 is a tenth of x0, to the last digit of float32: to rounding there is no x1."""
    x0 = torch.randn(n)
    return torch.stack([x0, x0 * 0.1], 1)


class Notes(Silent):
    def __init__(self):
        self.notes = []

    def note(self, text):
        self.notes.append(text)


def test_a_flow_that_collapses_is_told_from_one_that_does_not():
    batch = Batch(narrow_rows(64), None)
    assert precision_gap(Flow(Narrow(5.0), Normal((2,))), batch) == (0, 0)
    gap = precision_gap(Flow(Narrow(25.0), Normal((2,))), batch)
    assert gap.collapsed
    assert gap.share > 0.5
    assert gap.nats > 10
    assert precision_gap(Flow(Narrow(25.0), Normal((2,))).double(), batch) == (0, 0)


def test_what_has_collapsed_is_not_best_and_the_user_is_told_once():
    reporter, flow = Notes(), Flow(Narrow(), Normal((2,)))
    training = Training(steps=60, lr=1.0, batch_size=64, validate_every=3, accelerator="cpu")
    x = narrow_rows(400)
    fitted = fit(flow, x, narrow_rows(100), training=training, reporter=reporter)
    valid = [record for record in fitted.history if "valid" in record]
    assert valid[-1]["valid"] < fitted.best_valid - 3  # it looked ever better
    assert not valid[-1]["best"]
    assert not precision_gap(fitted.flow, Batch(x[:100], None)).collapsed
    assert float(fitted.flow.bijection.s.detach()) > 5
    assert len(reporter.notes) == 1
    assert "the flow has collapsed by step" in reporter.notes[0]


def test_a_flow_that_has_collapsed_at_first_is_kept_until_there_is_a_better_one():
    training = Training(steps=2, lr=1e-3, batch_size=64, validate_every=1, accelerator="cpu")
    flow = Flow(Narrow(25.0), Normal((2,)))
    fitted = fit(flow, narrow_rows(200), narrow_rows(50), training=training)
    assert fitted.best_step == 1


# --- no false alarms -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["iresnet", "maf", "maf-mog", "nsf", "nsf-ar", "realnvp"])
def test_a_sound_flow_of_rows_has_no_gap(name):
    flow = REGISTERED[name]().build((3,)).eval()
    x = 1000 + 50 * torch.randn(200, 3)
    initialize(flow, x)
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    assert precision_gap(flow, Batch(x, None)).share <= 0.01


def test_estimated_log_dets_are_no_gap():
    layer = Residual(Contraction(70), (70,), Truncated(3), Truncated(3))
    flow = Flow(Chain([layer, Standardise((70,))]), Normal((70,))).eval()
    assert flow.estimated
    assert precision_gap(flow, Batch(torch.randn(40, 70), None)) == (0, 0)


def test_images_have_no_gap():
    schema = schema_of()
    assert precision_gap(tiny_flow(schema), Batch(rows_of(schema).x.float(), None)) == (0, 0)


def test_inverse_flows_are_compared_too():
    flow = Flow(Inverse(Inverse(Narrow(25.0))), Normal((2,)))
    assert precision_gap(flow, Batch(narrow_rows(64), None)).collapsed
