"""WaveNet: what it sees, and that it gives the same whole, stepped, compiled and run again."""

import pytest
import torch

from cases import randomise
from caudal.bijections import Autoregressive
from caudal.elementwise import Affine, Histogram, MixtureLogistic
from caudal.nets import Naive, Rerun, WaveNet, wavenet
from caudal.nets.fast import dilated, queues
from caudal.nets.fast.kernels import wavenet_kernel

pytestmark = pytest.mark.usefixtures("one_thread")

MAPS = {
    "affine": Affine(floor=-7.0),
    "logistics": MixtureLogistic(components=3, floor=-7.0),
    "histogram": Histogram(bins=8),
}
CONTEXTS = ["none", "global", "one frame", "samples", "frames", "long frames", "odd frames"]
HOPS = {"samples": 1, "frames": 6, "long frames": 40, "odd frames": 34}


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch):
    monkeypatch.setattr(dilated, "CHUNK", 16)
    monkeypatch.setattr(queues, "_STEPS", 16)


def small(kind="none", n_params=2, scale=0.1, **options):
    """A small net that sees 11 samples back for kernel 2, or 21 for kernel 3."""
    channels = 0 if kind == "none" else 3
    sizes = {"layers": 5, "cycle": 3, "channels": 6, "context": channels}
    hop = HOPS.get(kind, 40 if kind == "one frame" else 1)
    return randomise(WaveNet(n_params, **{**sizes, "hop": hop, **options}), scale)


def context_of(kind, rows, length):
    if kind == "none":
        return None
    if kind in ("global", "one frame"):
        return torch.randn(rows, 3) if kind == "global" else torch.randn(rows, 3, 1)
    return torch.randn(rows, 3, -(-length // HOPS[kind]) + 1)  # one too many


def stepped(net, x, context=None):
    value, state, found = None, net.start(x, context), []
    for t in range(x.shape[-1]):
        params, state = net.step(value, state)
        found.append(params)
        value = x[..., t : t + 1]
    return torch.cat(found, -1)


# --- what it sees ----------------------------------------------------------------------------


@pytest.mark.parametrize("kernel", [2, 3])
@pytest.mark.parametrize("skip", [True, False])
@pytest.mark.usefixtures("float64")
def test_it_sees_all_of_its_receptive_field_and_nothing_else(kernel, skip):
    net = small(kernel=kernel, skip=skip, channels=24)
    field = net.receptive_field
    assert field == 1 + (kernel - 1) * (1 + 2 + 4 + 1 + 2)
    length = field + 5
    jacobian = torch.autograd.functional.jacobian(
        lambda x: net(x[None, None])[0, :, 0], torch.randn(length)
    ).abs()  # (P, T out, T in)
    lag = torch.arange(length)[:, None] - torch.arange(length)
    assert (jacobian[:, (lag < 1) | (lag > field)] == 0).all()
    assert (jacobian[:, (lag >= 1) & (lag <= field)] > 0).all()


@pytest.mark.parametrize("grad", [False, True])
def test_what_comes_later_changes_no_bit(grad):
    net, x = small(), torch.randn(2, 1, 50)
    with torch.set_grad_enabled(grad):
        before = net(x)
        for t in (0, 7, 16, 49):
            other = x.clone()
            other[..., t:] += 1
            assert torch.equal(net(other)[..., : t + 1], before[..., : t + 1])


def test_a_new_net_gives_zeros():
    net = WaveNet(2, layers=3, channels=8, context=3, hop=4)
    assert (net(torch.randn(2, 1, 10), torch.randn(2, 3, 3)) == 0).all()
    assert (net.last.weight == 0).all()
    assert net.last.bias.shape == (2,)


@pytest.mark.parametrize("skip", [True, False])
@pytest.mark.parametrize("layers", [4, 30])
def test_streams_start_with_about_unit_variance(skip, layers):
    net = WaveNet(2, layers=layers, channels=32, skip=skip)
    seen = []
    net.inner.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    net(torch.randn(1, 1, 2000))
    assert 0.2 < seen[0].square().mean() < 3


# --- the same in every way -------------------------------------------------------------------


@pytest.mark.parametrize("kind", CONTEXTS)
@pytest.mark.usefixtures("float64")
def test_whole_chunked_stepped_and_run_again(kind):
    for length, rows, kernel, skip in ((5, 3, 2, True), (43, 1, 3, False)):
        net = small(kind, kernel=kernel, skip=skip)
        x, context = torch.randn(rows, 1, length), context_of(kind, rows, length)
        whole = net(x, context)
        assert whole.shape == (rows, 2, 1, length)
        ways = [stepped(net, x, context)]  # with gradient
        with torch.no_grad():
            ways += [net(x, context), stepped(net, x, context), stepped(Naive(net), x, context)]
            if length < 10:
                ways.append(stepped(Rerun(net), x, context))
        for way in ways:
            torch.testing.assert_close(way, whole, atol=1e-12, rtol=0)


@pytest.mark.parametrize(
    ("kind", "skip"), [*((kind, True) for kind in CONTEXTS), ("none", False), ("frames", False)]
)
@pytest.mark.usefixtures("float64")
def test_gradients_are_those_of_plain_operations(kind, skip, monkeypatch):
    net = small(kind, kernel=3, skip=skip)
    x, context = torch.randn(2, 1, 71, requires_grad=True), context_of(kind, 2, 71)
    given = [x, *net.parameters()]
    ours = torch.autograd.grad(net(x, context).sin().sum(), given)
    monkeypatch.setattr(wavenet, "whole_clip", lambda *arguments: None)
    theirs = torch.autograd.grad(net(x, context).sin().sum(), given)
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, atol=1e-10, rtol=1e-9)


@pytest.mark.usefixtures("float64")
def test_gradients_of_samples_and_weights_by_differences():
    net = small("frames", layers=2, cycle=2, channels=2, kernel=2)
    x, context = torch.randn(1, 1, 20, requires_grad=True), context_of("frames", 1, 20)
    names, weights = zip(*net.named_parameters(), strict=True)

    def run(x, *weights):
        named = dict(zip(names, weights, strict=True))
        return torch.func.functional_call(net, named, (x, context))

    assert torch.autograd.gradcheck(run, (x, *weights), fast_mode=True)


def test_half_precision_and_compilers_go_by_plain_operations(monkeypatch):
    net, x = small("frames"), torch.randn(2, 1, 30)
    context = context_of("frames", 2, 30)
    whole = net(x, context)
    with torch.autocast("cpu", torch.bfloat16):
        params = net(x, context)
        params.sum().backward()
        with torch.no_grad():
            assert net.unroll(x, Affine().scalar, context) is None
            steps = stepped(net, x, context)
    for way in (params, steps):
        torch.testing.assert_close(way.float(), whole, atol=0.1, rtol=0.1)
    called = []
    plain = WaveNet.plain
    monkeypatch.setattr(WaveNet, "plain", lambda *given: called.append(1) or plain(*given))
    compiled = torch.compile(net, backend="eager")
    torch.testing.assert_close(compiled(x, context), whole, atol=1e-5, rtol=1e-5)
    assert called


@pytest.mark.usefixtures("float64")
def test_a_crop_with_its_frames_gives_what_the_whole_gives():
    net = small("long frames")
    x, context = torch.randn(1, 1, 400), torch.randn(1, 3, 10)
    whole = net(x, context)[..., 120:320]
    crop = net(x[..., 120:320], context[..., 3:8])
    inside = slice(80, 120)  # two frames from both ends: beyond what three frames and a half see
    torch.testing.assert_close(crop[..., inside], whole[..., inside], atol=1e-12, rtol=0)


# --- generation ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MAPS)
@pytest.mark.parametrize(
    ("dtype", "kernel", "skip"), [(torch.float32, 2, True), (torch.float64, 3, False)]
)
@pytest.mark.skipif(wavenet_kernel() is None, reason="Numba is not installed")
def test_the_compiled_loop_gives_what_steps_give(name, dtype, kernel, skip, monkeypatch, request):
    if dtype == torch.float64:
        request.getfixturevalue("float64")
    elementwise = MAPS[name]
    digits = 1e-5 if dtype == torch.float32 else 1e-11
    kinds = ("none", "global", "frames", "odd frames") if name == "affine" else ("frames",)
    for kind in kinds:  # of which the map knows nothing
        for rows, length in ((1, 40), (3, 5), (9, 18)):
            net = small(kind, elementwise.n_params, 0.03, kernel=kernel, skip=skip)
            layer = Autoregressive(net, elementwise)
            z = torch.rand(rows, 1, length) * 2 - 1
            context = context_of(kind, rows, length)
            with torch.no_grad(), monkeypatch.context() as patch:
                assert net.unroll(z, elementwise.scalar, context) is not None
                ours = layer.forward(z, context)
                patch.setattr(wavenet, "unroll_wavenet", lambda *arguments: None)
                theirs = layer.forward(z, context)
            for a, b in zip(ours, theirs, strict=True):
                torch.testing.assert_close(a, b, atol=4 * digits, rtol=digits)


@pytest.mark.skipif(wavenet_kernel() is None, reason="Numba is not installed")
@pytest.mark.usefixtures("float64")
def test_wide_ranges_of_maps_are_exact_in_the_loop():
    # Mixtures far apart and of very different scales, in both tails.
    for elementwise in (MixtureLogistic(components=4), Histogram(bins=64)):
        net = small(n_params=elementwise.n_params, layers=1, channels=2)
        with torch.no_grad():
            net.last.bias.copy_(3 * torch.randn(elementwise.n_params))
        z = torch.linspace(-30, 30, 400) if elementwise.n_params < 64 else torch.rand(400) * 2 - 1
        z = z[:, None, None]
        params = net(z)
        with torch.no_grad():
            pieces = [net.unroll(part, elementwise.scalar) for part in z.split(100)]
        truth = elementwise.forward(z, params)
        for ours, theirs in zip(zip(*pieces, strict=True), truth, strict=True):
            torch.testing.assert_close(torch.cat(ours), theirs, atol=1e-9, rtol=1e-9)


@pytest.mark.parametrize("kind", ["none", "frames"])
@pytest.mark.usefixtures("float64")
def test_round_trip_and_log_det(kind):
    layer = Autoregressive(small(kind), Affine(floor=-7.0))
    z, context = torch.randn(2, 1, 14), context_of(kind, 2, 14)
    with torch.no_grad():
        x, log_det = layer.forward(z, context)
        back, log_det_back = layer.inverse(x, context)
    torch.testing.assert_close(back, z, atol=1e-10, rtol=0)
    torch.testing.assert_close(log_det, -log_det_back, atol=1e-10, rtol=0)
    one = None if context is None else context[:1]
    for function, point, told in ((layer.forward, z, log_det), (layer.inverse, x, log_det_back)):
        jacobian = torch.autograd.functional.jacobian(
            lambda v, f=function: f(v[None, None], one)[0][0, 0], point[0, 0]
        )
        torch.testing.assert_close(torch.linalg.slogdet(jacobian).logabsdet, told[0])


def test_no_loop_where_it_would_be_wrong():
    net, z = small(), torch.randn(2, 1, 5)
    scalar = Affine().scalar
    assert net.unroll(z, scalar) is None  # with gradient
    with torch.no_grad():
        assert net.unroll(z, None) is None
        assert net.unroll(z.to("meta"), scalar) is None
        assert net.unroll(z.bfloat16(), scalar) is None


@pytest.mark.skipif(wavenet_kernel() is None, reason="Numba is not installed")
@pytest.mark.usefixtures("float64")
def test_the_loop_gets_across_where_a_mixture_has_no_density():
    elementwise = MixtureLogistic(components=2, floor=-16.0)
    net = small(n_params=6, layers=1, channels=2)
    with torch.no_grad():
        net.last.bias.copy_(torch.tensor([0.0, 0.0, -1.0, 1.0, -30.0, -30.0]))
        z = torch.tensor([0.3, -0.3, 4.0])[:, None, None]
        x, _ = net.unroll(z, elementwise.scalar)
    torch.testing.assert_close(x[:, 0, 0], torch.tensor([1.0, -1.0, 1.0]), atol=0.1, rtol=0)


@pytest.mark.parametrize("kind", ["none", "global", "frames"])
def test_an_empty_batch_is_one(kind):
    layer = Autoregressive(small(kind), Affine())
    context = context_of(kind, 0, 14)
    for grad in (False, True):
        with torch.set_grad_enabled(grad):
            for function in (layer.forward, layer.inverse):
                x, log_det = function(torch.zeros(0, 1, 14), context)
                assert (x.shape, log_det.shape) == ((0, 1, 14), (0,))


def test_nan_stays_nan():
    if wavenet_kernel() is None:
        pytest.skip("Numba is not installed")
    net, z = small(), torch.randn(1, 1, 5)
    with torch.no_grad():
        net.layers[1].taps.weight[0, 0] = float("nan")
        x, _ = net.unroll(z, Affine().scalar)
    assert x.isnan().any()


# --- errors ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layers": 0}, "`layers` must be at least 1, got 0"),
        ({"cycle": 0}, "`cycle` must be at least 1"),
        ({"channels": -1}, "`channels` must be at least 1"),
        ({"hop": 0}, "`hop` must be at least 1"),
        ({"kernel": 1}, "`kernel` must be at least 2"),
        ({"context": -1}, "`context` must be"),
    ],
)
def test_the_constructor_refuses(options, message):
    with pytest.raises(ValueError, match=message):
        WaveNet(2, **options)


def test_contexts_that_do_not_fit_are_refused():
    net = WaveNet(2, layers=2, channels=4, context=3, hop=10)
    with pytest.raises(ValueError, match="25 samples at 10 a frame need 3 frames.*got 2"):
        net(torch.randn(1, 1, 25), torch.randn(1, 3, 2))
    with pytest.raises(ValueError, match="needs `context`"):
        net(torch.randn(1, 1, 25))
