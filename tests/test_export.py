"""Graphs of ONNX give the numbers of the flow, and so do the functions that ONNX lacks."""

import json
from pathlib import Path

import pytest
import torch

import caudal
import caudal.cli
from cases import randomise
from caudal.model import Model, exporting, graph
from caudal.model.graph import (
    copysign,
    erfcx,
    erfinv,
    log_ndtr,
    ndtri,
    nextafter,
    searchsorted,
    slogdet,
    solve_triangular,
)
from command_line import exact_run


def test_the_normal_law_without_its_functions():
    x = torch.linspace(-30, 9, 500)
    torch.testing.assert_close(log_ndtr(x), torch.special.log_ndtr(x), atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(erfcx(-x / 4), torch.special.erfcx(-x / 4), atol=0, rtol=1e-5)
    p = torch.sigmoid(torch.linspace(-60, 15, 500))
    torch.testing.assert_close(ndtri(p), torch.special.ndtri(p), atol=1e-5, rtol=1e-5)
    y = torch.linspace(-0.999, 0.999, 99)
    torch.testing.assert_close(erfinv(y), torch.erfinv(y), atol=1e-5, rtol=1e-4)
    ends = torch.tensor([0.0, 1.0])
    assert torch.equal(ndtri(ends), torch.special.ndtri(ends))


@pytest.mark.parametrize("right", [False, True])
def test_places_among_edges(right):
    edges, values = torch.arange(6.0).repeat(3, 1), torch.randint(-1, 7, (3, 20)).float()
    expected = torch.searchsorted(edges, values, right=right)
    assert torch.equal(searchsorted(edges, values, right=right), expected)


@pytest.mark.parametrize("upper", [False, True])
@pytest.mark.parametrize("left", [False, True])
@pytest.mark.parametrize("unitriangular", [False, True])
def test_triangular_systems(upper, left, unitriangular):
    factor = torch.randn(4, 4) + 3 * torch.eye(4)
    factor = factor.triu() if upper else factor.tril()
    target = torch.randn(4, 3) if left else torch.randn(3, 4)
    how = {"upper": upper, "left": left, "unitriangular": unitriangular}
    if unitriangular:
        factor = factor / 10 + torch.eye(4)
    expected = torch.linalg.solve_triangular(factor, target, **how)
    torch.testing.assert_close(solve_triangular(factor, target, **how), expected)


def test_signs_and_neighbours_of_floats():
    x, sign = torch.randn(50), torch.randn(50)
    assert torch.equal(copysign(x, sign), torch.copysign(x, sign))
    ends = torch.tensor([24.0, 180.0, -1.0, 0.0])
    below = nextafter(ends, ends - 360)
    assert (below < ends).all()
    torch.testing.assert_close(below, torch.nextafter(ends, ends - 360), rtol=3e-7, atol=1e-37)


def test_inverses_of_matrices_that_ask_for_pivots():
    rotated = torch.linalg.qr(torch.randn(2, 12, 12))[0].roll(1, -1)
    matrix = rotated * torch.logspace(-1.5, 1.5, 12)
    torch.testing.assert_close(graph.inv(matrix), torch.linalg.inv(matrix), rtol=1e-3, atol=1e-3)
    assert torch.ops.aten.linalg_inv.default in graph.REPLACED


def test_determinants():
    matrix = torch.eye(4) + 0.2 * torch.randn(3, 4, 4)
    torch.testing.assert_close(slogdet(matrix)[1], torch.linalg.slogdet(matrix).logabsdet)
    assert set(graph.REPLACED) >= {torch.ops.aten._linalg_slogdet.default}


def test_a_missing_package_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr(exporting, "_NEEDED", ("onnx_that_is_not_there",))
    model = Model(caudal.recipes.NICE(hidden=(4,)).build((2,)))
    with pytest.raises(
        caudal.InputError, match=r"needs the package onnx_.*pip install 'caudal\[on"
    ):
        model.export(tmp_path / "m.onnx")


def test_what_has_no_graph_is_refused(monkeypatch, tmp_path):
    monkeypatch.setattr(exporting, "_NEEDED", ())
    residual = caudal.recipes.IResNet(blocks=1, hidden=(8,)).build((70,))
    with pytest.raises(caudal.InputError, match="this one is estimated"):
        Model(residual).export(tmp_path / "m.onnx")
    sound = caudal.recipes.WaveNet(layers=2, channels=4).build((1, -1), standardise=False)
    with pytest.raises(caudal.InputError, match="clips have any length"):
        Model(sound).export(tmp_path / "m.onnx")


def test_a_failure_leaves_the_old_graphs(monkeypatch, tmp_path):
    def write(path, module, traced, checked, output, about):
        path.write_text(output)
        if output == failing:
            raise caudal.InputError("the flow has no ONNX graph")
        return 0.0

    monkeypatch.setattr(exporting, "_NEEDED", ())
    monkeypatch.setattr(exporting, "_write", write)
    model = Model(caudal.recipes.NICE(hidden=(4,)).build((2,)))
    files = out, _ = tmp_path / "m.onnx", tmp_path / "m-sample.onnx"
    for file in files:
        file.write_text("old")
    for failing in ("log_prob", "x"):  # noqa: B007
        with pytest.raises(caudal.InputError):
            model.export(out, overwrite=True)
        assert set(tmp_path.iterdir()) == set(files)
        assert [file.read_text() for file in files] == ["old", "old"]
    failing = None
    model.export(out, overwrite=True)
    assert [file.read_text() for file in files] == ["log_prob", "x"]


def test_graphs_tell_the_schema_the_unit_and_the_threshold(monkeypatch, tmp_path):
    told = []

    def write(path, module, traced, checked, output, about):
        path.write_text(output)
        told.append(json.loads(about))
        return 0.0

    monkeypatch.setattr(exporting, "_NEEDED", ())
    monkeypatch.setattr(exporting, "_write", write)
    model = caudal.load(exact_run())
    often = model.threshold(0.1)  # its few rows tell no rarer alarms
    monkeypatch.setattr(model, "threshold", lambda: often)
    model.export(tmp_path / "m.onnx")
    density, sampler = told
    assert density == sampler
    assert density["schema"] == json.loads(json.dumps(model.schema.to_dict()))
    assert (density["unit"], density["kind"]) == ("nats a row", "exact")
    assert density["threshold"]["log_prob"] == often.log_prob
    assert density["recipe"]["name"] == "maf"


@pytest.mark.filterwarnings("ignore")  # of the compiler, not ours
def test_a_run_becomes_two_graphs(tmp_path, capsys):
    for name in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(name, reason="needs caudal[onnx]")
    flow = caudal.recipes.RealNVP(layers=1, hidden=(4,)).build((2,), (1,))
    Model(flow).save(tmp_path / "run")
    out = tmp_path / "m.onnx"
    assert caudal.cli.main(["export", str(tmp_path / "run"), "--out", str(out), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["inputs"] == {"x": [2], "context": [1], "z": [2]}
    assert told["difference"] < 1e-5
    x, context = torch.randn(11, 2), torch.randn(11, 1)
    found = exporting.run(out, {"x": x, "context": context})
    torch.testing.assert_close(found, flow.log_prob(x, context), atol=1e-5, rtol=1e-5)
    found = exporting.run(tmp_path / "m-sample.onnx", {"z": x, "context": context})
    torch.testing.assert_close(found, flow.decode(x, context), atol=1e-5, rtol=1e-5)
    import onnx

    (kept,) = onnx.load(out).metadata_props
    assert json.loads(kept.value)["recipe"]["name"] == "realnvp"
    assert str(Path(caudal.__file__).parent).encode() not in out.read_bytes()


@pytest.mark.filterwarnings("ignore")
def test_columns_one_by_one_are_a_loop_of_the_graph(tmp_path):
    for name in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(name, reason="needs caudal[onnx]")
    flow = randomise(caudal.recipes.MAF(layers=1, hidden=(8,)).build((3,))).eval()
    Model(flow).export(tmp_path / "m.onnx")
    for z in (torch.randn(1, 3), torch.randn(11, 3), torch.tensor([[30.0, -30, 30]])):
        found = exporting.run(tmp_path / "m-sample.onnx", {"z": z})
        torch.testing.assert_close(found, flow.decode(z), atol=1e-4, rtol=1e-4)
    import onnx

    nodes = onnx.load(tmp_path / "m-sample.onnx").graph.node
    assert {"Loop", "Scan"} & {node.op_type for node in nodes}


@pytest.mark.filterwarnings("ignore")
def test_circles_have_a_graph(tmp_path):
    for name in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(name, reason="needs caudal[onnx]")
    recipe = caudal.recipes.NSF(layers=1, hidden=4, blocks=1)
    flow = recipe.build_on_circles((2,), {0: (0, 24)}).eval()
    Model(flow).export(tmp_path / "m.onnx")
    x = torch.tensor([[0.0, 1.0], [24.0, 1.0], [23.999, -2.0]])
    found = exporting.run(tmp_path / "m.onnx", {"x": x})
    torch.testing.assert_close(found, flow.log_prob(x), atol=1e-4, rtol=1e-4)


@pytest.mark.filterwarnings("ignore")
def test_mixtures_have_a_graph(tmp_path):
    for name in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(name, reason="needs caudal[onnx]")
    flow = caudal.recipes.MAFMoG(layers=0, hidden=(4,), components=2).build((2,)).eval()
    file, x = tmp_path / "m.onnx", torch.randn(4, 2)
    density = exporting._Density(flow, ["x"])  # alone: that of its samples takes a minute
    exporting._write(file, density, {"x": x}, {"x": x + 1}, "log_prob", "{}")
    x = torch.tensor([[0.0, 1.0], [-6.0, 9.0], [12.0, -0.3]])  # in both tails, too
    found = exporting.run(file, {"x": x})
    torch.testing.assert_close(found, flow.log_prob(x), atol=1e-4, rtol=1e-4)
