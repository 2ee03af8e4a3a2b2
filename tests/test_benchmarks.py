"""The benchmarks run, on the smallest of budgets."""

import json
import sys
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import torch

import caudal
from caudal.data.audio import open_audio

ROOT = Path(__file__).resolve().parents[1]
POWER = ROOT.parent / "shared" / "data" / "power"


def test_quality_goes_on_where_it_was(monkeypatch, capsys, tmp_path):
    pytest.importorskip("zuko")
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    import quality

    if not POWER.exists():
        pytest.skip(f"{POWER} is not there: the real tables are not part of the repository")
    options = ["--budget", "smoke", "--tables", "power", "--models", "made"]
    monkeypatch.setattr(sys, "argv", ["quality.py", *options, "--out", str(tmp_path)])
    quality.main()
    assert "| power | made |" in capsys.readouterr().out
    cells = json.loads((tmp_path / "quality-smoke.json").read_text())["cells"]
    assert {cell["library"] for cell in cells} == {"caudal", "zuko", "nflows"}
    assert len({cell["n_params"] for cell in cells}) == 1, "equal models have equal sizes"
    quality.main()
    assert json.loads((tmp_path / "quality-smoke.json").read_text())["cells"] == cells


def test_precision_and_recall_of_sets_that_are_equal_apart_and_without_a_mode(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    import features

    rng = np.random.default_rng(0)
    dark, light = (rng.integers(low, low + 4, (20, 1, 4, 4)) for low in (0, 12))
    both, labels = np.concatenate([dark, light]), torch.arange(2).repeat_interleave(20)
    found = features.Features(both, labels)
    assert found.precision_recall(both, both) == (1, 1)
    assert found.precision_recall(dark, light) == (0, 0)
    mixed = rng.permutation(both)
    precision, recall = found.precision_recall(np.concatenate([dark, dark]), mixed)
    assert (precision, recall) == (1, 0.5)


def test_a_walk_down_the_levels_of_noise_ends_at_the_density_without_noise(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    import noise_levels

    shape, variance = (1, 2, 2), torch.tensor([100.0, 400.0, 2500.0, 1e4]).view(1, 2, 2)
    known = noise_levels.Levelled(torch.full(shape, 100.0), variance)  # a Gaussian is all of it
    base, levels = caudal.base.Normal(shape), noise_levels.Levels()
    flow = caudal.Flow(caudal.Chain([known]), base, context_shape=(1,), embedding=levels)
    stairs = noise_levels.stairs(noise_levels.HIGHEST, 48)
    assert stairs[0] == noise_levels.HIGHEST
    assert stairs[-1] == pytest.approx(noise_levels.LOWEST)
    generator = torch.Generator().manual_seed(0)
    y = flow.sample(4000, torch.tensor([np.log(stairs[0])]).float(), generator=generator)
    assert torch.allclose(y.var(0), variance + stairs[0] ** 2, rtol=0.15)
    for drawn in (None, generator):
        *_, x = noise_levels.walk(flow, y, stairs, drawn)
        assert torch.allclose(x.mean(0), torch.full(shape, 100.0), atol=5.0)
        assert torch.allclose(x.var(0), variance, rtol=0.15)


def test_noisy_images_tell_their_level(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    import noise_levels

    source = noise_levels.Noisy(torch.zeros(64, 1, 16, 16, dtype=torch.uint8))
    first, again, other = (next(source.shuffled(32, seed)) for seed in (0, 0, 1))
    assert torch.equal(first.x, again.x)
    assert not torch.equal(first.context, other.context)
    std = first.x.flatten(1).std(1)
    assert torch.allclose(std, first.context[:, 0].exp(), rtol=0.2)
    assert std.max() > 5 * std.min()


def test_bias_of_a_new_flow_is_within_its_bound(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    import bias

    torch.manual_seed(0)
    flow = caudal.recipes.IResNet(blocks=2, hidden=(8,)).build((4,), standardise=False).eval()
    found = bias.measure(flow, torch.randn(5, 4))
    assert found["blocks"] == 2
    assert all(abs(off) <= bound for off, bound in zip(found["off"], found["bound"], strict=True))
    assert abs(found["off"][-1]) < 1e-4


def test_speed_fills_in_a_row(monkeypatch):
    pytest.importorskip("zuko")
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    import speed

    monkeypatch.setitem(speed.WORKLOADS, "train 10", 10)
    cell, model = speed.Cell("nsf(1)", 3, "train 10"), speed.Model("nsf", 1, 8)
    work = {library: speed.work_of(library, model, cell) for library in speed.LIBRARIES}
    speed.measure(cell, work, seconds=0.01)
    text = speed.report([cell], {"command": "none"}, [])
    assert "| nsf(1) | 3 | train 10 |" in text
    assert len(cell.seconds["caudal"]) >= 5


def test_sampling_fills_in_a_row(monkeypatch):
    pytest.importorskip("zuko")
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    import sampling

    monkeypatch.setattr(sampling, "MODEL", sampling.Model("maf", 1, 8))
    cell = sampling.Draw("maf(1)", 3, "4")
    sampling.measure(cell, sampling.ways(3, 4), seconds=0.01)
    assert set(cell.seconds) == set(sampling.COLUMNS)
    assert "| 3 | 4 |" in sampling.report([cell], {"command": "none"})


@pytest.mark.filterwarnings("ignore:torch.lu is deprecated:UserWarning")  # the peer's
def test_image_flows_are_scored_and_timed_beside_their_peer(monkeypatch):
    pytest.importorskip("normflows")
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    import torch

    import images

    monkeypatch.setattr(images, "BATCH", 4)
    size, shape = (2, 1, 4), (1, 8, 8)
    flows = {name: build(shape, size) for name, build in images.BUILD.items()}
    counts = [images.parameters(flow) for flow in flows.values()]
    assert abs(counts[0] - counts[1]) < 0.3 * counts[1]  # priors differ; the rest is equal
    pixels = torch.randint(0, 256, (300, 1, 8, 8), dtype=torch.uint8)
    scores = [
        images._trained(flow, name, "noise", "logit", pixels, pixels[:50], steps=2)
        for name, flow in flows.items()
    ]
    assert all(7 < score.bits < 20 for score in scores)
    seconds = {name: [1.0, 2.0] for name in flows}
    cell = images.Cell("noise", size, "train", dict(zip(flows, counts, strict=True)), seconds)
    text = images.report({"speed": {"facts": {}, "cells": [vars(cell)]}})
    assert "| noise L=2 K=1 4 maps | train | 1500.0 | 1500.0 | **1.00** |" in text


def test_what_is_iterated_is_timed_and_drawn(monkeypatch, tmp_path):
    pytest.importorskip("normflows")
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    import torch

    import iterated

    for name, size in {"SIZE": (1, 4), "SHAPE": (1, 4), "BATCH": 8}.items():
        monkeypatch.setattr(iterated, name, size)
    monkeypatch.setattr(iterated, "LAYERS", {"maf": (2, 4), "nsf-ar": (1, 4)})
    monkeypatch.setattr(iterated, "PICTURES", ("moons",))
    cells = {
        "peer": iterated.peer(tmp_path, 2, 2),
        "pictures": iterated.pictures(2, 20, tmp_path / "picture.png"),
        "sweeps": iterated.sweeps(
            {"noise": lambda: iterated.Table(*torch.randn(3, 40, 5))}, steps=2, repetitions=1
        ),
    }
    assert {cell["way"] for cell in cells["peer"]} >= {"caudal", "normflows, tightened"}
    assert all(0.5 < cell["integral"] < 1.5 for cell in cells["pictures"])
    assert (tmp_path / "picture.png").stat().st_size > 1000
    assert all(cell["difference"] < 1e-3 for cell in cells["sweeps"] if cell["way"] != "naive")
    text = iterated.report({part: {"facts": {}, "cells": cells[part]} for part in cells})
    assert text.count("| moons, 2 | log_prob | caudal |") == 1
    assert "| noise, 5 | nsf-ar | sweeps |" in text


def test_sound_is_timed_and_compared(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    import audio

    monkeypatch.setattr(audio, "SIZES", (audio.Size(3, 2, (1, 2), channels=4, seconds=0.02),))
    monkeypatch.setattr(audio, "BATCHES", (1, 2))
    monkeypatch.setattr(audio, "DRAWS", (1, 2))
    found = {
        "speed": {"cells": audio.speed(1, 1, (1, 2)), "said": {"loop": "queues", "fields": "7"}}
    }
    assert all(cell["per_second"] > 0 for cell in found["speed"]["cells"])
    found["known"] = {"cells": audio.known(steps=2, rows=20), "said": {"steps": 2}}
    teacher, student = found["known"]["cells"][:2]
    assert teacher["nll"][0] == pytest.approx(teacher["exact"][0] + teacher["above"][0])
    assert student["kl"][0] > 0
    text = audio.report({part: {"facts": {}, **cells} for part, cells in found.items()})
    assert "| 3 layers; student 1 + 2 | 2 | student | 2 |" in text
    assert "| student, logistic | 2 |" in text


def test_the_process_that_is_known_has_the_density_of_its_covariance(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    import torch

    import audio

    correlations = [1.0, audio.A1 / (1 - audio.A2)]
    for _ in range(6):
        correlations.append(audio.A1 * correlations[-1] + audio.A2 * correlations[-2])
    lags = (torch.arange(8)[:, None] - torch.arange(8)).abs()
    covariance = torch.tensor(correlations, dtype=torch.float64)[lags]
    x = torch.randn(5, 1, 8)
    truth = torch.distributions.MultivariateNormal(torch.zeros(8).double(), covariance)
    found = audio.log_prob_of_process(x)
    torch.testing.assert_close(found, truth.log_prob(x[:, 0].double()))


@pytest.mark.usefixtures("timed_once")
def test_copies_of_spoken_digits_are_recognised_and_measured(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    import audio

    if not (audio.DATA_DIR / "fsdd").exists():
        pytest.skip(f"{audio.DATA_DIR / 'fsdd'} is not there: it is not part of the repository")
    data = tmp_path / "data" / "fsdd"
    data.mkdir(parents=True)
    for file in (audio.DATA_DIR / "fsdd").glob("[01]_jackson_?.flac"):
        (data / file.name).symlink_to(file)
    from caudal.cli import main

    tiny = "--channels 4 --cycle 3 --hop 64 --window 256 --seconds 0.1 --layers 3 --steps 2"
    tiny += f" --warmup 1 --batch-size 2 --no-report --out {tmp_path}/fsdd-minutes"
    assert (
        main(["train", "wavenet", "--data", str(data), "--test", "*_[01].flac", *tiny.split()])
        == 0
    )
    monkeypatch.setattr(import_module("caudal.report.audio.distilled"), "COMPARED", 1)
    few = f"--steps 2 --warmup 1 --batch-size 2 --kl 0 --no-report --out {tmp_path}/fsdd-student"
    assert main(["distill", f"{tmp_path}/fsdd-minutes", *few.split()]) == 0
    cells = audio.speech(audio.DIGITS, tmp_path, tmp_path / "data", audio.Limits(3, 2, 1.0, 40))
    floors = ["shaped noise", "Griffin-Lim", "prediction"]
    runs = ["fsdd-minutes", "fsdd-student"]
    refined = [f"{name}, refined" for name in ("prediction", *runs)]
    assert [cell["who"] for cell in cells] == ["recordings", *floors, *runs, *refined]
    assert cells[0]["copies"] == 10
    assert 0 < cells[4]["sweeps"] <= 70
    assert cells[2]["convergence"][0] < cells[1]["convergence"][0]
    older = {"facts": {"commit": "old"}, "cells": [{"who": "fsdd"}, {"who": "fsdd-student-kl"}]}
    kept = audio.beside_older(audio.DIGITS, cells, older, "new")
    assert [cell["commit"] for cell in kept] == ["new"] * 9 + ["old"]
    text = audio.report({"speech": {"facts": {}, "cells": cells}})
    assert "caudal distill runs/fsdd-minutes --student parallel-wavenet --" in text
    assert str(tmp_path) not in text


def test_output_laws_are_compared_on_clips(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    import laws
    from audio_files import fill

    fill(tmp_path, names="{}_7")
    monkeypatch.setattr(laws, "NET", {"layers": 2, "cycle": 2, "channels": 4, "hop": 64})
    data = open_audio(tmp_path, hop=64, window=256, seconds=0.25, test="1*_7.wav")
    cells = [laws.taught(law, data, steps=1, limit=2) for law in laws.LAWS]
    assert all(0 < cell["discretized_bits_per_sample"] < 40 for cell in cells)
    assert "| softmax | " in laws.report({}, cells, 1)


@pytest.fixture
def equal_time(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    import equal_time

    return equal_time


def test_equal_time_keeps_its_cells_and_runs_none_twice(equal_time, monkeypatch, tmp_path):
    pytest.importorskip("zuko")
    monkeypatch.setattr(equal_time, "BASELINES", ())
    command = ["", "--data", "moons", "--libraries", "zuko", "--seeds", "1"]
    monkeypatch.setattr(sys, "argv", [*command, "--budgets", "0.2", "--out", str(tmp_path)])
    equal_time.main()
    path = tmp_path / "equal_time.jsonl"
    cells = list(equal_time.read(path).values())
    assert [(cell.library, cell.budget) for cell in cells] == [("zuko", 0.2)]
    assert cells[0].steps >= 1
    assert -10 < cells[0].score < 0
    equal_time.main()
    assert len(path.read_text().splitlines()) == len(cells)
    picture = str(tmp_path / "picture.png")
    monkeypatch.setattr(sys, "argv", ["", "--tell", "--out", str(tmp_path), "--picture", picture])
    equal_time.main()
    assert "## 0.2 seconds" in (tmp_path / "equal_time.md").read_text()
    assert Path(picture).stat().st_size > 1000


def test_equal_time_scores_do_not_depend_on_the_units_of_columns(equal_time, tmp_path):
    import numpy as np
    import torch

    from equal_time_caudal import gaussian
    from equal_time_job import Problem

    rows = np.random.default_rng(0).normal(size=(3, 2000, 2))
    scores = []
    for scale in (1.0, 1e3):
        for part, values in zip(("train", "valid", "test"), rows * scale, strict=True):
            np.save(tmp_path / f"{part}.npy", values)
        (tmp_path / "unit").write_text("nats")
        problem = Problem(tmp_path)
        mean, error = problem.told(gaussian(problem)[0])
        units = torch.from_numpy(problem.units("test"))
        peers = torch.distributions.Normal(0, 1).log_prob(units).sum(1).mean().item()
        assert mean == pytest.approx(peers, abs=2 * error), "as a peer sees the same rows"
        scores.append(mean)
    assert scores[0] == pytest.approx(scores[1], abs=1e-6)


def test_equal_time_judges_by_the_best_peer_and_the_direction_of_the_unit(equal_time):
    from equal_time_tell import page, rows

    def cell(data, library, seed, score):
        unit = "nats" if data == "power" else "bits/dim"
        rest = {"rows_se": 0, "parameters": 1, "steps": 1, "seconds": 10, "versions": "torch 2"}
        rest |= {"commit": "c", "date": "d", "machine": "m"}
        return equal_time.Cell(data, library, 10, seed, score, unit=unit, **rest)

    scores = {"caudal": 1.0, "zuko": 0.5, "nflows": 2.0, "normflows:glow": 1.5}
    cells = [
        cell(data, library, seed, score + 0.01 * seed)
        for data in ("power", "mnist")
        for library, score in scores.items()
        for seed in (0, 1)
        if data == "power" or library not in ("zuko", "nflows")
    ]
    other = [replace(cell("power", "nflows:moons", seed, 9.0), valid=-5.0) for seed in (0, 1)]
    cells = {c.key: replace(c, valid=c.valid or -4.0) for c in [*cells, *other]}
    power, mnist = rows(cells, 10)
    assert (power.peer, power.verdict) == ("nflows", "**behind**")
    assert power.ahead == pytest.approx(-1.0)
    assert (mnist.peer, mnist.verdict) == ("normflows", "ahead")
    text = page(cells)
    assert text.index("power, 10 s: nflows by 1.000 nats") < text.index("## 10 seconds")
    assert "ahead of every peer in 1 of 2 cells" in text


def test_equal_time_says_which_cells_were_measured_alone_and_beside_whom(equal_time):
    from equal_time_tell import page

    def cell(library, budget, seed, commit):
        rest = {"rows_se": 0, "parameters": 1, "steps": 1, "seconds": 10, "versions": "torch 2"}
        rest |= {"score": 1 + (library == "caudal"), "unit": "nats", "valid": 1.0}
        rest |= {"commit": commit, "date": f"of {commit}", "machine": "m"}
        return equal_time.Cell("power", library, budget, seed, **rest)

    together = [cell(name, 60, seed, "a") for name in ("zuko", "flowjax") for seed in (0, 1)]
    together += [cell("caudal", 60, 0, "a"), cell("caudal", 60, 1, "b")]
    single = [cell(name, 300, 0, "c") for name in ("caudal", "zuko", "flowjax")]
    text = " ".join(page({c.key: c for c in together + single}).split())
    assert "1 cells have one seed, and no error: it is first in all of them, beside the" in text
    assert "the two peers that lead after 60 s" in text
    assert "without the peers: power after 60 s (seed 1)." in text
    text = " ".join(page({c.key: c for c in together + single[:2]}).split())
    assert "beside the peers that the tables have there" in text


def test_rates_are_compared_by_the_same_noise(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    import rates

    schema = caudal.data.ImageSchema((1, 4, 4))
    flow = caudal.assemble(caudal.recipes.Glow(scales=1, layers=1, maps=4), schema)
    x = torch.randint(256, (120, 1, 4, 4)).float()
    caudal.initialize(flow, x)
    first, second = rates.bits(flow, x), rates.bits(flow, x)
    torch.testing.assert_close(first, second, rtol=0, atol=0)
    assert first.shape == (120,)
    assert 6 < float(first.mean()) < 12
    row = rates.Row("mnist", "glow", "small", 60, 4e-3, 9, 1.5, 0.02, 0.1, 0.01, "c", "m")
    facts = dict.fromkeys(("machine", "threads", "libraries"), "")
    assert "| 4e-3 | 9 | 1.500 ± 0.020 | 0.100 ± 0.010 | c |" in rates.page([row], facts)


def test_students_of_images_are_told_by_their_teacher(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    import image_students

    monkeypatch.setattr(image_students, "PATH", tmp_path / "students.json")
    teacher = {"data": "digits", "seconds": 60.0, "teacher_steps": 7}
    for steps in (5, 6):  # the last run replaces the others
        rows = [{**teacher, "student": name, "steps": steps} for name in ("teacher", "glow")]
        image_students.keep(rows)
    image_students.keep([{**teacher, "data": "mnist", "teacher_steps": 8, "student": "teacher"}])
    text = (tmp_path / "students.md").read_text()
    assert text.index("## digits, 60 s each, of a teacher of 7 steps") < text.index("## mnist")
    assert "| glow | 6 |" in text
    assert "| glow | 5 |" not in text


def test_verdicts_of_sound_need_more_than_their_errors(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    import audio
    import sound_trials

    assert audio._ratio([0.1, 0.2], [5.0, 0.1], "treble") == ""
    assert audio._ratio([1.0, 0.1], [2.0, 0.2], "treble") == "*2.00 ± 0.28*"
    assert audio._ratio([0.9, 0.2], [0.8, 0.2], "voicing") == "0.89 ± 0.30"
    assert not audio._has_students({"speech": {"cells": []}})
    worse, better = torch.tensor([-3.0, 3.1, -3.2, 3.3, -3.4]).double(), torch.zeros(5).double()
    mean, _, sign = sound_trials.against(worse, better, "treble, refined")
    assert (round(mean, 6), sign) == (3.2, -1)
    assert sound_trials.against(worse[:3], better[:3], "stoi")[2] == 0


def test_few_rows_are_scored_beside_their_gaussian_and_copula(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    import small_tables

    frame = small_tables.TABLES["iris"](None)
    row = small_tables.run("iris", frame, 40, 0)
    assert abs(row.flow - row.copula - row.gain) < 1e-6
    assert (row.gain == 0) == (row.best_step == 0)
    assert row.gaussian > -10
    assert "| iris | 40 | 4 | 0 |" in small_tables.report([row], {})


def test_real_tables_tell_how_far_each_came(monkeypatch, tmp_path, capsys):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    import real_tables

    rows = [f"{i},n{i},{i % 7}.5" for i in range(40)]
    (tmp_path / "good.csv").write_text("\n".join(["id,name,v", *rows]), encoding="utf-8")
    (tmp_path / "names.csv").write_text("\n".join(["name", *"abcdefghij"]), encoding="utf-8")
    monkeypatch.setitem(real_tables.QUICK, "steps", 1)
    monkeypatch.setattr(sys, "argv", ["real_tables.py", "--folder", str(tmp_path)])
    real_tables.main()
    good, names, share = capsys.readouterr().out.splitlines()
    assert good.startswith("good.csv")
    assert good.endswith("ok")
    assert "train: " in names
    assert "leaves no column to model" in names
    assert share == "1 of 2 tables, 50%"


def test_anomalies_are_found_beside_other_detectors(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    import anomaly

    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 2)) @ np.array([[1.0, 0.95], [0.0, 0.3]])
    x[:20, 1] = -4 * x[:20, 0]
    data = (x, np.arange(300) < 20)
    rows = [anomaly.run("thyroid", name, data, 200, 0.02) for name in anomaly.DETECTORS]
    assert all(row.auroc > 0.6 for row in rows)
    text = anomaly.report(rows, {}, 0.02)
    assert "| thyroid | 140 | 2 | 20 of 160 |" in text


def test_synthetic_tables_are_measured_and_told(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    import pandas as pd

    import synthetic

    rng = np.random.default_rng(0)
    x = rng.normal(size=400)
    kind = np.where(x + 0.3 * rng.normal(size=400) > 0, "up", "down")
    frame = pd.DataFrame({"x": x.round(6), "y": (x + rng.normal(size=400)).round(6), "kind": kind})
    table = synthetic.Table(frame[:250], frame[250:], "kind")
    assert table.discrete == ["kind"]
    ruler = synthetic.Ruler(table, 120)
    shuffled = frame[:120].assign(kind=rng.permutation(kind[:120]))
    cells = [
        synthetic.Cell("magic", model, minutes, 0, 120, "", 1.0, 0.1, **ruler.measure(rows))
        for model, minutes, rows in (
            ("real rows", 0.0, None),
            ("caudal", 2.0, ruler.encode(shuffled)),
            ("CTGAN", 2.0, ruler.encode(frame[130:250])),
        )
    ]
    assert cells[1].target < 0.75 < 0.85 < cells[2].target
    page = synthetic.page(cells, {})
    assert "## magic, 2 minutes, 120 rows" in page
    assert "| **" in page
    assert "- magic, 2 minutes, target: CTGAN by 0." in page
    assert synthetic.order(cells[0]) < synthetic.order(cells[1]) < synthetic.order(cells[2])


def test_results_keep_the_last_row_of_each_key(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    import anomaly
    import pages

    rows = pages.Results(tmp_path / "a.json", anomaly.Row, anomaly.key, lambda row: row.table)
    for table, auroc in (("magic", 0.5), ("cover", 0.6), ("magic", 0.7)):
        row = anomaly.Row(table, "FlowOutlier", 10, 2, 5, 1, auroc, 1.0)
        rows.add(row, lambda found, facts: pages.text("Title", [str(len(found))], facts))
    assert [(row.table, row.auroc) for row in rows.read()] == [("cover", 0.6), ("magic", 0.7)]
    assert (tmp_path / "a.md").read_text().startswith("# Title\n\n2\n\n- command: ")


def test_a_command_is_told_without_where_the_data_are(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    import environment

    words = ["lecture.py", "--data-dir", "/home/me", "--only", "glow", "--data-dir=/home/me"]
    monkeypatch.setattr(sys, "argv", words)
    assert environment.describe(("torch",))["command"] == "python lecture.py --only glow"
    script = str(ROOT / "benchmarks" / "speed.py")
    words = [script, "--out=/home/me/out", "--flowjax", "/home/me/bin/python", "made"]
    monkeypatch.setattr(sys, "argv", words)
    told = environment.describe(("torch",))["command"]
    assert told == "python benchmarks/speed.py --out=out --flowjax python made"


def test_streaming_is_timed_beside_memory_and_layers_by_what_they_keep(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    import scale

    rows = scale.streaming(1600, 64)
    assert [row[0] for row in scale.reading(1600, 64)] == ["in memory", "streamed"]
    assert [row[0] for row in rows] == ["in memory", "streamed", "streamed from 8 files"]
    assert all(0.05 < float(row[2].rstrip("%")) / 100 < 5 for row in rows)
    flows = (caudal.recipes.NSF(layers=n, hidden=4).build((3,)) for n in (1, 2))
    few, many = (scale.kept(flow, torch.rand(8, 3), None, False) for flow in flows)
    assert few < many


def test_densities_are_scored_both_ways(monkeypatch):
    """A flow that is the density has all of its effective sizes, and one of half the scale not."""
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    import energies

    target = caudal.targets.Banana()

    def exactly(x):
        return target(x) - target.log_z

    def draw(n):
        x = target.sample(n)
        return x, exactly(x)

    monkeypatch.setattr(energies, "DRAWS", 2000)
    monkeypatch.setattr(energies, "ANNEALED", 50)
    flow = caudal.recipes.NICE(layers=1, hidden=(4,)).build((target.features,))
    fits = {"itself": energies.Fitted(draw, exactly, 1.0, 1, flow)}
    fits["wide"] = energies.scaled(draw, exactly, target, 1.0, 1)
    monkeypatch.setattr(energies, "LEARNERS", {n: lambda *_, n=n: fits[n] for n in fits})
    itself, wide = (energies.measure(target, name, 1.0) for name in fits)
    assert (itself.ess, itself.forward_ess) == pytest.approx((1.0, 1.0))
    assert (itself.error, itself.forward_kl) == pytest.approx((0.0, 0.0), abs=1e-6)
    assert wide.forward_kl > 0.5
    assert wide.annealed is None
    assert abs(itself.annealed["log_z"] - target.log_z) < 5 * itself.annealed["error"]
    assert 0 < itself.annealed["effective"] <= 1
    zuko = energies.fit_zuko(target, 0.05)
    x, log_q = zuko.draw(50)
    torch.testing.assert_close(zuko.score(x), log_q, atol=1e-3, rtol=1e-3)


def test_targets_in_jax_are_those_in_torch(monkeypatch):
    jax = pytest.importorskip("jax", reason="the package jax is not installed")
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    import energies_jax

    for name, kind in caudal.targets.TARGETS.items():
        target = kind()
        x = target.scale * torch.randn(5, target.features)
        found = torch.tensor(np.asarray(jax.vmap(energies_jax.TARGETS[name])(x.numpy())))
        torch.testing.assert_close(found, target(x), atol=1e-3, rtol=1e-5)


def test_maps_are_scored_in_one_recipe(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    import maps
    from tables import Table

    table = Table(*(torch.randn(60, 3) for _ in range(3)))
    rows = [maps.run(table, "noise", name, 0.05) for name in maps.MAPS]
    assert all(row.steps > 0 and np.isfinite(row.log_prob) for row in rows)
    assert "8 sinh conjugations" in maps.page(rows, {})


def test_posteriors_of_new_seeds_and_again(monkeypatch, tmp_path):
    pytest.importorskip("zuko")
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    monkeypatch.setitem(sys.modules, "sbi", None)  # a package of this name, or none, comes back
    del sys.modules["sbi"]
    import sbi

    ran = []

    def learner(name):
        def learn(task, theta, x, steps, seed):
            ran.append((name, seed))
            return sbi.Learned(
                lambda observed, n: task.prior.sample((n,)),
                lambda theta, x: task.prior.log_prob(theta),
            )

        return learn

    monkeypatch.setattr(sbi, "LEARNERS", {name: learner(name) for name in sbi.LEARNERS})
    monkeypatch.setattr(sbi, "RESULTS", tmp_path)
    monkeypatch.setattr(sbi, "SIMULATIONS", 10)
    monkeypatch.setattr(sbi, "c2st", lambda sample, truth: 0.5)
    command = ["sbi.py", "--tasks", "Gaussian linear", "--observations", "1", "--rows", "5"]
    for more in ([], ["--seeds", "1", "0"], ["--learners", "zuko", "--again"]):
        monkeypatch.setattr(sys, "argv", [*command, *more])
        sbi.main()
    assert ran == [("caudal", 0), ("zuko", 0), ("caudal", 1), ("zuko", 1), ("zuko", 0)]
    (found,) = json.loads((tmp_path / "sbi.json").read_text()).values()
    assert {name: [cell["seed"] for cell in cells] for name, cells in found.items()} == {
        "caudal": [0, 1],
        "zuko": [0, 1],
    }
    assert all(cell["commit"] and cell["machine"] for cells in found.values() for cell in cells)
    assert "| **0.500** ± 0.000 | 0.500, 0.500 | 0.500 |" in (tmp_path / "sbi.md").read_text()


def test_draws_of_any_order_are_measured_exact_and_weighed(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    import transformer_orders

    monkeypatch.setattr(transformer_orders, "GIVEN_ROWS", 3)
    monkeypatch.setattr(transformer_orders, "GIVEN_DRAWS", 4)
    recipe = caudal.recipes.TarFlow(layers=1, width=8, heads=2, order="any")
    flow, x = recipe.build((4,)).eval(), torch.randn(50, 4)
    exact, weighed = (transformer_orders.given(flow, x, way) for way in (False, True))
    assert exact["ess"] is None
    assert 0 < weighed["ess"] <= 1


@pytest.mark.parametrize("kind", ["vectors", "filter"])
def test_layers_of_the_trials_of_sound_are_exact(monkeypatch, kind):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    from sound_layers import Corrected, Tried

    torch.manual_seed(0)
    recipe = Tried(channels=4, cycle=2, layers=3, hop=6, size=3)
    layer = recipe._build((1, -1), (2, -1)).double().bijection
    for weight in layer.parameters():
        torch.nn.init.normal_(weight, std=0.3)
    if kind == "filter":
        layer = Corrected([torch.randn(100).double()], order=4)
    x, context = torch.randn(1, 1, 10).double(), torch.randn(1, 2, 2).double()
    z, log_det = layer.inverse(x, context)
    back, other = layer(z, context)
    torch.testing.assert_close(back, x)
    torch.testing.assert_close(other, -log_det)
    slopes = torch.autograd.functional.jacobian(lambda x: layer.inverse(x, context)[0], x)
    slopes = slopes.view(10, 10)
    torch.testing.assert_close(slopes.slogdet()[1], log_det[0])
    assert not slopes.triu(1).any()
    assert bool(slopes[1, 0]), "of one step are samples 0, 1 and 2"


@pytest.mark.parametrize("joint", ["gaussian", "couplings"])
def test_tokens_of_sound_depend_on_those_before_and_on_their_spectra(monkeypatch, joint):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    from sound_tokens import Spoken

    torch.manual_seed(0)
    recipe = Spoken(hop=32, size=16, joint=joint, width=8, depth=2)
    layer = recipe._build((1, -1), (2, -1)).double().bijection
    for weight in layer.parameters():
        torch.nn.init.normal_(weight, std=0.2)
    context = torch.randn(1, 2, 2).double().requires_grad_()
    for length in (64, 50) if joint == "gaussian" else (64,):
        x = torch.randn(1, 1, length).double()
        z, _ = layer.inverse(x, context)
        torch.testing.assert_close(layer(z, context)[0], x)
    x = torch.randn(1, 1, 64).double()
    z, log_det = layer.inverse(x, context)
    slopes = torch.autograd.functional.jacobian(lambda x: layer.inverse(x, context)[0], x)
    slopes = slopes.view(64, 64)
    torch.testing.assert_close(slopes.slogdet()[1], log_det[0])
    token = torch.arange(64) // 16
    assert not slopes[token[:, None] < token].any()
    assert slopes[48:, :16].any()
    assert torch.autograd.grad(z[0, 0, 0], context)[0].any()
