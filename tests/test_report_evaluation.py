"""What evaluations, baselines and pages are for all three kinds of data."""

import json
import math
from dataclasses import replace

import pytest
import torch

from cases import randomise
from caudal.data import Batch, Column, Rows, TableSchema
from caudal.data.schema import BITS_PER_SAMPLE
from caudal.errors import InputError, NumericalError
from caudal.modality import assemble
from caudal.numerics import Repeats
from caudal.recipes import MAF, NICE
from caudal.report import evaluate, load_baseline, log_prob_items, save_baseline
from caudal.report.baseline import baseline_type
from caudal.report.evaluation import Evaluation
from caudal.report.items import noise, row_noise
from image_flows import rows_of, schema_of, tiny_flow
from test_sound_report import SCHEMA, Waves, ar2_flow, waves

TABLE = TableSchema((Column("k", "integer", 0, 9, 1.0), Column("m", "integer", 0, 3, 1.0)))
IMAGES = schema_of()
KINDS = ("table", "images", "audio")
KEYS = {
    "table": {"log_prob", "log_prob_inside", "gaussian_log_prob", "gaussian_log_prob_inside"},
    "images": {"bits_per_dim", "bits_per_dim_inside", "gaussian_bits_per_dim", "elements"},
    "audio": {"bits_per_sample", "bits_per_sample_inside", "gaussian_bits_per_sample", "samples"}
    | {"uniform_bits_per_sample", "nats_per_sample", "density_nats_per_sample", "duration"}
    | {"rate"},
}
ALWAYS = {"two_se", "kind", "rows", "rows_outside", "split", "seed", "draws", "unit", "log_prob"}
ALWAYS |= {"log_prob_two_se", "gain", "gain_two_se", "gaussian"}


def counts(n=300):
    generator = torch.Generator().manual_seed(0)
    tops = ((10, n), (4, n))
    x = [torch.randint(top, (n,), generator=generator).float() for top, n in tops]
    return Rows(torch.stack(x, 1))


def case(kind):
    """A flow, items, and what they are."""
    torch.manual_seed(0)
    if kind == "table":
        return assemble(NICE(layers=2, hidden=(4,)), TABLE).eval(), counts(), TABLE
    if kind == "images":
        return tiny_flow(IMAGES), rows_of(IMAGES), IMAGES
    return ar2_flow(), Waves(SCHEMA, waves([900, 400, 1300], seed=1)), SCHEMA


def evaluated(kind, **options):
    flow, source, schema = case(kind)
    baseline = baseline_type(kind).fit(flow, source, schema)
    return evaluate(flow, source, baseline, schema, **options)


@pytest.mark.parametrize("kind", KINDS)
def test_json_has_the_numbers_of_its_kind(kind):
    result = evaluated(kind)
    values = result.to_dict()
    assert set(values) >= ALWAYS | KEYS[kind]
    assert json.loads(json.dumps(values, allow_nan=False)) == values
    assert values["unit"] == result.unit.name
    assert values[result.unit.key] == result.score
    assert ("noise_std" in values) == (kind != "audio")
    if kind == "table":
        assert values["bits_per_dim"] == -result.score / (2 * math.log(2))
    assert "one" not in values


@pytest.mark.parametrize("kind", KINDS)
def test_the_score_is_the_total_over_elements(kind):
    result, (flow, source, _) = evaluated(kind), case(kind)
    waves = [source.clip(i).x[None] for i in range(3)] if kind == "audio" else [source.x.float()]
    repeats = Repeats()
    noises = [row_noise(flow, 0, repeat=repeats.of(x)) for x in waves]
    with torch.no_grad():
        scores = [flow.log_prob(x, generator=n) for x, n in zip(waves, noises, strict=True)]
    log_prob = torch.cat(scores).double()
    elements = sum(x.numel() for x in waves) if result.unit.bits else len(log_prob)
    expected = float(log_prob.sum()) * result.unit.scale / elements
    assert result.score == pytest.approx(expected, rel=1e-9)
    assert result.log_prob == pytest.approx(float(log_prob.mean()), rel=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_a_damaged_flow_is_refused(kind):
    flow, source, schema = case(kind)
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter.fill_(math.nan)
    with pytest.raises(NumericalError, match="not a number"):
        evaluate(flow, source, None, schema)


@pytest.mark.parametrize("kind", KINDS)
def test_several_draws_are_averaged(kind):
    one, several = evaluated(kind), evaluated(kind, draws=4)
    assert several.draws == several.to_dict()["draws"] == 4
    assert several.score == pytest.approx(one.score, abs=10 * (one.noise_two_se or 0.1))
    assert several.score != one.score
    assert several.baseline == one.baseline  # its noise is drawn once
    assert (several.importance is None) == (kind == "table")
    if several.importance is not None:
        assert several.importance < several.score


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_not_known_is_said(kind):
    flow, source, schema = case(kind)
    result = evaluate(flow, source, None, schema)
    assert (result.gain, result.baseline) == (None, None)
    assert f"training {result.many} are not" in result.note
    head, rows, looks = result.table()
    assert len(head) == len(looks) == 3
    assert all(len(row) == 3 for row in rows)
    assert [row[0] for row in rows] == ["flow", *(["uniform"] if kind == "audio" else [])]
    assert all(line.endswith(".") for line in result.sentences())


def test_the_table_has_all_scores():
    result = Evaluation(
        math.inf, 4.5, 0.1, BITS_PER_SAMPLE, rows=9, rows_outside=2, one="clip", many="clips",
        importance=4.4, discretized=4.45, discretized_two_se=0.1, baseline=6.0, uniform=16.0,
        gain=1.5, gain_two_se=0.2, draws=3, baseline_name="linear prediction", note="a baseline",
        kind="lower bound", samples=900, duration=0.1, bits=16, rate=8000,
    )  # fmt: skip
    head, rows, _ = result.table()
    assert head == ["", "bits/sample", ""]
    assert [row[:2] for row in rows] == [
        ["flow", "∞"],
        ["flow, 7 finite clips", "4.500 ± 0.100"],
        ["flow, weighted", "4.400"],
        ["flow, discretised", "4.450 ± 0.100"],
        ["linear prediction", "6.000"],
        ["uniform", "16.000"],
        ["flow below linear prediction, 7 finite clips", "1.500 ± 0.200"],
    ]
    assert result.title == "bits/sample of 9 test clips, mean ± 2 s.e."
    assert "2 clips score −∞: outside the support" in result.outside
    assert result.sentences()[-1] == "The linear prediction: a baseline."


@pytest.mark.parametrize("kind", KINDS)
def test_baselines_come_back_from_their_files(kind, tmp_path):
    flow, source, schema = case(kind)
    baseline, path = baseline_type(kind).fit(flow, source, schema), tmp_path / "g.safetensors"
    save_baseline(path, baseline)
    back = load_baseline(path, kind, flow, schema)
    batch = Batch(source.clip(0).x[None], None) if kind == "audio" else Batch(source.x, None)
    a, b = (
        g.log_prob(flow, batch, noise(flow, 0), torch.Generator().manual_seed(0))
        for g in (baseline, back)
    )
    torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-9)
    assert a.dtype == torch.float64
    assert back.note == baseline.note
    other = KINDS[KINDS.index(kind) - 1]
    with pytest.raises(InputError, match="damaged"):
        load_baseline(path, other)
    path.write_bytes(b"nothing")
    with pytest.raises(InputError, match="is damaged .*: remove it, it is made anew"):
        load_baseline(path, kind)


def test_baselines_of_other_data_are_refused(tmp_path):
    flow, source, schema = case("table")
    path = tmp_path / "g.safetensors"
    save_baseline(path, baseline_type("table").fit(flow, source, schema))
    wide = assemble(MAF(layers=1, hidden=(4,)), TableSchema(TABLE.columns[:1])).eval()
    with pytest.raises(InputError, match="of other data than the run's"):
        load_baseline(path, "table", wide, schema)
    save_baseline(path, baseline_type("images").fit(None, rows_of(IMAGES), IMAGES))
    with pytest.raises(InputError, match="of other data than the run's"):
        load_baseline(path, "images", tiny_flow(IMAGES), replace(IMAGES, bits=5))


def test_an_old_file_of_images_is_read(tmp_path):
    """Once they were kept in single precision."""
    from safetensors.torch import save_file

    baseline = baseline_type("images").fit(None, rows_of(IMAGES), IMAGES)
    tensors = {k: v.float() if v.is_floating_point() else v for k, v in baseline.tensors().items()}
    tensors["alpha"] = baseline.tensors()["alpha"]
    save_file({k: v.contiguous() for k, v in tensors.items()}, tmp_path / "old.safetensors")
    old = load_baseline(tmp_path / "old.safetensors", "images")
    x = rows_of(IMAGES).x
    pair = [g.log_mass(x, torch.Generator().manual_seed(0)) for g in (baseline, old)]
    torch.testing.assert_close(*pair, rtol=1e-4, atol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_items_are_scored_in_parts_as_at_once(kind, monkeypatch):
    flow, source, _ = case(kind)
    x = source.clip(0).x[None].expand(3, -1, -1) if kind == "audio" else source.x[:9]
    randomise(flow.bijection)  # a new flow may be flat within a step, where noise is nothing
    whole, error = log_prob_items(flow, Batch(x, None), draws=2)
    assert whole.shape == error.shape == (len(x),)
    assert whole.dtype == torch.float64
    assert bool(error.any()) == flow.noisy
    monkeypatch.setattr("caudal.report.scoring.item_rows", lambda shape: 4)
    parts, _ = log_prob_items(flow, Batch(x, None), draws=2)
    torch.testing.assert_close(parts, whole, rtol=1e-3, atol=1e-2)
