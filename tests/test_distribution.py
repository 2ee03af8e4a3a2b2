"""The `torch.distributions` view keeps the promises of torch's own distributions."""

import math

import pytest
import torch

from caudal import InputError
from caudal.data import Column, TableSchema
from caudal.distribution import FlowDistribution
from caudal.modality import assemble
from caudal.recipes import MAF, NICE, WaveNet


def conditional(batch=(5,)):
    flow = MAF(layers=2, hidden=(16,)).build((2,), (3,)).eval()
    return flow, torch.randn(*batch, 3)


def test_a_flow_is_a_torch_distribution():
    flow = MAF(layers=2, hidden=(16,)).build((3,), (2,)).eval()
    rows = torch.randn(5, 2)
    many, one = flow.distribution(rows), flow.distribution(rows[0])
    assert many.batch_shape == (5,)
    assert one.batch_shape == ()
    assert many.event_shape == (3,)
    x = many.sample((4,))
    assert x.shape == (4, 5, 3)
    assert many.log_prob(x).shape == (4, 5)
    torch.testing.assert_close(many.log_prob(x)[:, 0], one.log_prob(x[:, 0]))
    assert many.rsample((2,)).requires_grad
    plain = MAF(layers=1, hidden=(8,)).build((3,)).eval().distribution()
    assert plain.sample().shape == (3,)
    assert plain.log_prob(torch.zeros(7, 2, 3)).shape == (7, 2)


@pytest.mark.parametrize("shape", [(2,), (5, 2), (1, 2), (7, 1, 2), (7, 5, 2), (4, 7, 1, 2)])
def test_values_broadcast_as_in_torch(shape):
    flow, contexts = conditional()
    many, value = flow.distribution(contexts), torch.randn(*shape)
    normal = torch.distributions.MultivariateNormal(torch.zeros(5, 2), torch.eye(2))
    log_prob = many.log_prob(value)
    assert log_prob.shape == normal.log_prob(value).shape
    rows = value.expand(*log_prob.shape, 2)
    for i in range(5):
        one = flow.distribution(contexts[i])
        torch.testing.assert_close(log_prob[..., i], one.log_prob(rows[..., i, :]))


def test_a_context_of_frames_may_have_any_number_of_them():
    wavenet = WaveNet(layers=2, channels=4, hop=2)
    flow = wavenet.build((1, -1), (5, -1), standardise=False).eval()
    context, x = torch.randn(5, 4), torch.rand(3, 1, 8)
    log_prob = flow.distribution(context).log_prob(x)
    torch.testing.assert_close(log_prob, flow.log_prob(x, context.expand(3, 5, 4)))
    with pytest.raises(InputError, match=r"`context` must have shape \(B, \*\(5, -1\)\), got"):
        flow.distribution(context[:4])


def test_expand():
    flow, contexts = conditional()
    many = flow.distribution(contexts)
    larger = many.expand((4, 5))
    assert isinstance(larger, FlowDistribution)
    assert (larger.batch_shape, larger.event_shape) == ((4, 5), (2,))
    assert larger.sample((3,)).shape == (3, 4, 5, 2)
    x = torch.randn(2)
    torch.testing.assert_close(larger.log_prob(x), many.log_prob(x).expand(4, 5))
    one = flow.distribution(contexts[0]).expand((6,))
    assert one.rsample().shape == (6, 2)
    plain = MAF(layers=1, hidden=(8,)).build((2,)).eval().distribution().expand(torch.Size([4]))
    assert plain.log_prob(x).shape == plain.sample().shape[:1] == (4,)
    independent = torch.distributions.Independent(larger, 1)
    assert independent.log_prob(x).shape == (4,)


def test_the_support_is_real():
    many = conditional()[0].distribution(torch.randn(5, 3))
    assert many.support.event_dim == 1
    assert many.support.check(torch.zeros(5, 2)).all()
    steps = assemble(NICE(layers=2, hidden=(4,)), TableSchema((Column("n", "integer", step=1.0),)))
    assert not steps.distribution().support.is_discrete


@pytest.mark.parametrize(
    ("context", "message"),
    [
        (None, r"needs a `context` of shape \(B, \*\(3,\)\)"),
        (torch.zeros(5, 2), r"\(B, \*\(3,\)\), got \(5, 2\)"),
        (torch.zeros(()), r"got \(\)"),
        (torch.zeros(5, 3, dtype=torch.float64), "must be torch.float32"),
    ],
)
def test_a_wrong_context_is_refused_at_once(context, message):
    with pytest.raises(InputError, match=message) as error:
        conditional()[0].distribution(context)
    assert "\n" not in str(error.value)


def test_what_does_not_fit_is_refused():
    flow, contexts = conditional()
    many = flow.distribution(contexts)
    for shape in ((), (3,), (1,), (4, 2), (4, 1)):
        with pytest.raises(InputError, match="`value` must have shape"):
            many.log_prob(torch.zeros(shape))
    for batch in ((1,), (5, 4), ()):
        with pytest.raises(InputError, match="cannot expand batch shape"):
            many.expand(batch)
    with pytest.raises(InputError, match="takes no `context`"):
        MAF(layers=1, hidden=(8,)).build((3,)).distribution(torch.zeros(3))


def test_draws_with_a_generator_and_their_density():
    flow, contexts = conditional()
    many = flow.distribution(contexts)
    first, again = (many.rsample((4,), torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(first, again)
    assert torch.equal(many.sample((4,), torch.Generator().manual_seed(3)), first)
    x, log_prob = many.rsample_with_log_prob((4,))
    assert x.requires_grad
    torch.testing.assert_close(log_prob, many.log_prob(x), atol=1e-4, rtol=1e-4)


def test_entropy_and_divergences_by_draws():
    flow, contexts = conditional((2,))
    one, many = flow.distribution(contexts[0]), flow.distribution(contexts)
    generator = torch.Generator().manual_seed(0)
    # A new flow is the standard normal, whose entropy is log(2 pi e) in two dimensions.
    torch.testing.assert_close(
        many.entropy(20_000, generator), torch.full((2,), 2.8379), atol=0.03, rtol=0
    )
    torch.manual_seed(0)
    wide = torch.distributions.MultivariateNormal(torch.zeros(2), 4 * torch.eye(2))
    divergence = torch.distributions.kl_divergence
    exact = math.log(4) - 1 + 1 / 4
    torch.testing.assert_close(divergence(one, wide), torch.tensor(exact), atol=0.1, rtol=0)
    back = -math.log(4) - 1 + 4
    torch.testing.assert_close(divergence(wide, one), torch.tensor(back), atol=0.4, rtol=0)
    assert divergence(many, many).shape == (2,)
    torch.testing.assert_close(divergence(many, many), torch.zeros(2), atol=1e-3, rtol=0)
