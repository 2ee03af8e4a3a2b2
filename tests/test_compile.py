"""Static shapes, no graph breaks: flows compile as one graph and export."""

from dataclasses import replace

import pytest
import torch

from cases import RECIPES, randomise
from caudal.model.exporting import _Sampler
from caudal.recipes import MAFMoG, RealNVP
from image_cases import RECIPES as IMAGE_RECIPES
from image_cases import away_from_start

COMPILED, EXPORTED = ["realnvp", "mintnet", "tarflow"], ["nsf", "maf-mog"]
"""Together they have the operations of all: the nets of the others, and the maps of the others."""

pytestmark = pytest.mark.filterwarnings("ignore")  # of the compiler, not ours


def flow_and_rows(name):
    """Of one layer: every further one has the same operations, and takes as long to trace."""
    recipe = replace(RECIPES[name], layers=1)
    flow = randomise(recipe.build((6,), (2,))).eval()
    return flow, torch.randn(8, 6), torch.randn(8, 2)


@pytest.fixture(autouse=True)
def _fresh_compiler():
    torch.compiler.reset()


@pytest.mark.parametrize("name", COMPILED)
def test_log_prob_is_one_graph(name):
    flow, x, context = flow_and_rows(name)
    compiled = torch.compile(flow.log_prob, fullgraph=True, backend="aot_eager")
    found = compiled(x, context)
    torch.testing.assert_close(found, flow.log_prob(x, context))
    found.sum().backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in flow.parameters())


def test_sampling_of_couplings_is_one_graph():
    flow, _, context = flow_and_rows("realnvp")
    compiled = torch.compile(flow.sample, fullgraph=True, backend="aot_eager")
    torch.manual_seed(1)
    x = compiled(8, context)
    torch.manual_seed(1)
    torch.testing.assert_close(x, flow.sample(8, context))


@pytest.mark.parametrize("name", EXPORTED)
def test_log_prob_exports_with_any_number_of_rows(name):
    """Which takes one graph, as `torch.compile` does."""
    flow, x, context = flow_and_rows(name)
    free = {0: torch.export.Dim("rows")}
    shapes = {"x": free, "context": free}
    program = torch.export.export(flow, (x, context), dynamic_shapes=shapes, strict=True)
    for rows in (8, 3):
        found = program.module()(x[:rows], context[:rows])
        torch.testing.assert_close(found, flow.log_prob(x[:rows], context[:rows]))


class Sampler(torch.nn.Module):
    """`Flow.sample` as the forward of a module, which is what export takes."""

    def __init__(self, flow):
        super().__init__()
        self.flow = flow

    def forward(self, context):
        return self.flow.sample(8, context)


def test_sampling_of_couplings_exports():
    flow, _, context = flow_and_rows("nice")
    program = torch.export.export(Sampler(flow), (context,), strict=True)
    torch.manual_seed(1)
    x = program.module()(context)
    torch.manual_seed(1)
    torch.testing.assert_close(x, flow.sample(8, context))


@pytest.fixture
def _one_of_each(monkeypatch):
    """One coupling of each kind where RealNVP has three or four."""
    for name in ("_checkerboards", "_halves"):
        whole = getattr(RealNVP, name)

        def one(self, shape, n, *rest, whole=whole):
            return whole(self, shape, 1, *rest)

        monkeypatch.setattr(RealNVP, name, one)


def image_flow_and_rows(name):
    recipe = IMAGE_RECIPES[name]
    recipe = replace(recipe, scales=2, **({"layers": 1} if name == "glow" else {}))
    flow = away_from_start(recipe.build((1, 8, 8), (2,))).eval()
    return flow, torch.randn(4, 1, 8, 8), torch.randn(4, 2)


@torch.no_grad()
def test_densities_of_residual_flows_export_with_any_number_of_rows():
    flow, x = RECIPES["iresnet"].build((4,)).eval(), torch.randn(8, 4)
    shapes = {"x": {0: torch.export.Dim("rows")}}
    program = torch.export.export(flow, (x,), dynamic_shapes=shapes, strict=False)
    torch.testing.assert_close(program.module()(x[:3]), flow.log_prob(x[:3]))


@torch.no_grad()
def test_samples_drawn_position_by_position_are_a_loop_of_the_graph():
    """Which holds the net once for the loop and once for the last position, and bisects in one."""
    flow = randomise(MAFMoG(layers=0, hidden=(4,), components=2).build((6,))).eval()
    z, shapes = torch.randn(8, 6), ({0: torch.export.Dim("rows")},)
    program = torch.export.export(_Sampler(flow), (z,), dynamic_shapes=shapes, strict=False)
    assert len(program.graph.nodes) < 500
    for rows in (8, 3):
        torch.testing.assert_close(program.module()(z[:rows]), flow.decode(z[:rows]))


def test_densities_of_images_export():
    flow, x, context = image_flow_and_rows("glow")
    program = torch.export.export(flow, (x, context), strict=True)
    torch.testing.assert_close(program.module()(x, context), flow.log_prob(x, context))


def test_densities_of_transformers_over_patches_are_one_graph():
    flow = away_from_start(replace(IMAGE_RECIPES["tarflow"], layers=1, depth=1).build((1, 4, 4)))
    x = torch.randn(4, 1, 4, 4)
    compiled = torch.compile(flow.log_prob, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(x), flow.log_prob(x))


@pytest.mark.usefixtures("_one_of_each")
def test_samples_of_images_are_one_graph():
    flow, x, context = image_flow_and_rows("realnvp")
    decode = torch.compile(flow.decode, fullgraph=True, backend="eager")
    with torch.no_grad():
        torch.testing.assert_close(decode(x, context), flow.decode(x, context))


def test_log_prob_of_columns_one_by_one_exports_with_gradients():
    """Its loop is one of a graph without them, and steps apart with them."""
    flow, x, context = flow_and_rows("iaf")
    program = torch.export.export(flow, (x, context))
    torch.testing.assert_close(program.module()(x, context), flow.log_prob(x, context))
    frozen = torch.export.export(flow.requires_grad_(False), (x, context))
    torch.testing.assert_close(frozen.module()(x, context), flow.log_prob(x, context))
    assert len(frozen.graph.nodes) < 0.6 * len(program.graph.nodes)
