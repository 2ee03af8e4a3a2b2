"""What is meant to hang, to fill the memory, or to be obeyed ends in one line that names it."""

import gzip
import io
import json
import os
import pickle
import sys
from itertools import pairwise
from zipfile import ZIP_DEFLATED, ZipFile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from safetensors.torch import save

from caudal import files
from caudal.bijections import Gaussianise, marginals
from caudal.bijections.weighted import Values
from caudal.cli.screen import Screen
from caudal.data import TableWriter, open_data, open_images, read_tables
from caudal.data.unpacked import OPTION, Counted
from caudal.errors import InputError, printable
from caudal.recipes import NICE
from caudal.report.style import shorten
from caudal.training import bounded
from caudal.training.checkpoint import load_model, save_model
from caudal.training.run import read_config
from caudal.training.state import read_state
from caudal.training.tensors import read_tensors
from command_line import caudal, people_csv, refused
from image_files import fill
from sheets import write_xlsx

DRAW = np.random.default_rng(0)

# --- files that promise too much -----------------------------------------------------------------


def header(shape, descr="<f8"):
    file = io.BytesIO()
    told = {"descr": descr, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, told)
    return file.getvalue() + bytes(64)


@pytest.mark.parametrize(
    ("shape", "descr"), [((10**12, 3), "<f8"), ((10**18, 10**18), "<f4"), ((9,), "|S2000000000")]
)
@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_an_array_that_promises_terabytes(tmp_path, shape, descr, suffix):
    path = tmp_path / f"t{suffix}"
    if suffix == ".npy":
        path.write_bytes(header(shape, descr))
    else:
        with ZipFile(path, "w") as file:
            file.writestr("x.npy", header(shape, descr))
    with pytest.raises(InputError, match=r"cut short: its header says \d+"):
        open_data(path)


def test_a_table_as_wide_as_others_are_long(tmp_path):
    np.save(tmp_path / "t.npy", np.zeros((2, 100_001), np.uint8))
    with pytest.raises(InputError, match="100,001 columns.*transpose it"):
        open_data(tmp_path / "t.npy")


def text_bomb(path):
    with gzip.open(path, "wb") as file:
        file.write(b"a,b\n" + b"1,2\n" * 1_000_000)


def array_bomb(path):
    with ZipFile(path, "w", ZIP_DEFLATED) as file:
        file.writestr("x.npy", header((500_000,)) + bytes(8 * 500_000))


def parquet_bomb(path):
    pq.write_table(pa.table({"a": np.zeros(500_000)}), path)


def sheet_bomb(path):
    write_xlsx(path, one=[["a", "b"], [1, 2]])
    with ZipFile(path) as file:
        parts = {name: file.read(name) for name in file.namelist()}
    far = b'<row><c r="XFD1048576"><v>3</v></c></row></sheetData>'
    with ZipFile(path, "w", ZIP_DEFLATED) as file:
        for name, content in parts.items():
            file.writestr(name, content.replace(b"</sheetData>", far))


BOMBS = {
    "t.csv.gz": text_bomb,
    "t.npz": array_bomb,
    "t.parquet": parquet_bomb,
    "t.xlsx": sheet_bomb,
}


@pytest.mark.parametrize("name", BOMBS)
def test_bombs_are_refused_unless_they_are_trusted(name, tmp_path, monkeypatch):
    path = tmp_path / name
    BOMBS[name](path)
    monkeypatch.setenv(OPTION, "0.001")
    with pytest.raises(InputError, match=f"more than 100 times its size.*set {OPTION}"):
        open_data(path)
    if name != "t.xlsx":
        monkeypatch.setenv(OPTION, "1")
        assert next(iter(read_tables(path))).num_rows
    monkeypatch.setenv(OPTION, "much")
    with pytest.raises(InputError, match=f"{OPTION}=much: give a number of GiB"):
        open_data(path)


def test_what_is_packed_is_read_once_and_no_further_than_its_limit(tmp_path, monkeypatch):
    monkeypatch.setenv(OPTION, "0.01")
    path, read = tmp_path / "a.csv.bz2", []
    path.write_bytes(b"small")

    class Endless:
        def read(self, size):
            read.append(size)
            return bytes(size)

        def close(self):
            read.append("closed")

    with Counted(path, "a.csv.bz2", Endless()) as stream:
        assert stream.read(10) == bytes(10)
        with pytest.raises(InputError, match="a.csv.bz2 holds more than 100 times its size"):
            stream.read()
    assert sum(read[:-1]) < 2**30 // 50
    assert read[-1] == "closed"


def test_small_pictures_that_are_too_much_together(tmp_path, monkeypatch):
    for number in range(12):
        Image.new("RGB", (600, 600)).save(tmp_path / f"{number}.webp", lossless=True)
    assert len(open_images(str(tmp_path)).train)
    monkeypatch.setenv(OPTION, "0.004")
    with pytest.raises(InputError, match=f"{tmp_path} holds more than 10,000 times its size"):
        open_images(str(tmp_path))
    assert len(open_images(str(tmp_path), resize=[8]).train)  # as large as the user says


def test_simple_drawings_are_no_bombs(tmp_path, monkeypatch):
    drawings = np.full((12, 512, 512, 3), 255, np.uint8)
    drawings[:, 100:300, 200:400] = 0
    monkeypatch.setenv(OPTION, "0.004")
    assert len(open_images(str(fill(tmp_path, drawings))).train)


def test_pictures_of_too_many_pixels(tmp_path, monkeypatch):
    folder = fill(tmp_path / "pictures", np.zeros((8, 200, 200, 1), np.uint8))
    monkeypatch.setenv(OPTION, "0.0001")
    before = Image.MAX_IMAGE_PIXELS
    with pytest.raises(InputError, match=f"too many pixels; if you trust it, set {OPTION}"):
        open_images(folder)
    assert before == Image.MAX_IMAGE_PIXELS  # the limit of a program that uses Pillow as well


def unfolding(form):
    """Eight lines, each of which has the one before eight times."""
    pairs = pairwise("abcdefgh")
    return "".join(f"{c}: &{c} {form % ', '.join([f'*{b}'] * 8)}\n" for b, c in pairs)


YAML = {
    "aliases": "a: &a [1]\n" + unfolding("[%s]"),
    "merges": "a: &a {k: 1}\n" + unfolding("{<<: [%s]}"),
    "itself": "a: &a [*a]\n",
    "depth": "[" * 100_000,
    "size": "a: 1\n" * 500,
}


@pytest.mark.parametrize("name", YAML)
def test_yaml_that_unfolds_beyond_measure(name, tmp_path, monkeypatch, capsys):
    path = tmp_path / "c.yaml"
    path.write_text(YAML[name])
    monkeypatch.setattr(files, "MOST_YAML", 1000 if name == "size" else files.MOST_YAML)
    said = refused(capsys, "train", "--config", path, "--data", people_csv())
    assert "not YAML: it" in said
    said = refused(capsys, "train", "nice", "--types-from", path, "--data", people_csv())
    assert "cannot be read: it" in said


def test_a_model_is_built_no_larger_than_its_weights(tmp_path, monkeypatch):
    recipe = NICE(layers=2, hidden=(4,))
    flow = recipe.build((3,))
    path = tmp_path / "m.safetensors"
    monkeypatch.setattr(bounded, "_PARTS", 100 - 20 * len(flow.state_dict()))
    for change, most, said in (
        ({"layers": 10**30}, 10**6, "more than the number of its weights"),
        ({"layers": 10**5}, 10**6, "more than 100 layers"),
        ({"hidden": (60, 60)}, 100, "more than 800 weights"),
    ):
        monkeypatch.setattr(bounded, "_NUMBERS", most)
        forged = NICE(layers=2, hidden=(4,))
        for name, value in change.items():
            object.__setattr__(forged, name, value)
        save_model(path, flow, forged)
        with pytest.raises(InputError, match=f"cannot be built: .*{said}"):
            load_model(path)
    save_model(path, flow, recipe)
    assert load_model(path).recipe == recipe


@pytest.mark.parametrize(
    "schema",
    [{"shape": [1, 10**30, 8]}, {"shape": [3, 10**5, 10**5]}, {"crop": 10**30, "rate": 8000}],
)
def test_a_schema_has_no_sizes_beyond_all_weights(schema):
    """Samples would take them, though no weight has them."""
    metadata = {"event_shape": [1, 8, 8], "context_shape": None, "recipe": {}}
    bounded.check_wanted({**metadata, "schema": {"shape": [1, 8, 8], "bits": 8}}, {})
    with pytest.raises(ValueError, match="more than the number of its weights"):
        bounded.check_wanted({**metadata, "schema": schema}, {})


class Harm:
    """What a pickle would do when it is read: it makes a folder."""

    def __init__(self, place):
        self.place = str(place)

    def __reduce__(self):
        return os.mkdir, (self.place,)


@pytest.mark.parametrize(
    "name", ["rows.npy", "rows.npz", "images.npz", "state.pt", "config.yaml", "m.safetensors"]
)
def test_no_file_runs_code(name, tmp_path):
    """Each holds a call of `os.mkdir`, in the way in which its format could say one."""
    harm, path = Harm(tmp_path / "harm"), tmp_path / name
    calls = np.array([harm, harm], dtype=object)
    if name.startswith("m."):
        # As safetensors names no code, its metadata are what could: a recipe of another module.
        forged = {"caudal": json.dumps({"recipe": {"name": "os:mkdir", "fields": {"path": "x"}}})}
        path.write_bytes(save({"w": torch.zeros(1)}, forged))
    elif path.suffix == ".npy":
        np.save(path, calls, allow_pickle=True)
    elif path.suffix == ".npz":
        np.savez(path, images=calls, allow_pickle=True)
    elif path.suffix == ".pt":
        torch.save({"format": 1, "identity": harm}, path)
    else:
        path.write_text(f"!!python/object/apply:os.mkdir ['{harm.place}']")
    read = {"rows": open_data, "images": open_images, "state": read_state, "m": load_model}
    with pytest.raises(InputError):
        read.get(path.stem, read_config)(path)
    assert not (tmp_path / "harm").exists()
    pickle.loads(pickle.dumps(harm))
    assert (tmp_path / "harm").exists()  # so a pickle does


# --- devices, pipes, and names -------------------------------------------------------------------


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no such pipes")
def test_pipes_and_devices_are_no_files(tmp_path, capsys):
    pipe, link = tmp_path / "pipe.csv", tmp_path / "zero.csv"
    os.mkfifo(pipe)
    link.symlink_to("/dev/zero")
    for path in (pipe, link):
        said = refused(capsys, "train", "nice", "--data", path)
        assert said == f"{path} is a device or a pipe, and a file is needed"
    for words in (("--types-from", "/dev/zero"), ("--valid", pipe)):
        said = refused(capsys, "train", "nice", "--data", people_csv(), *words)
        assert "is a device or a pipe" in said
    with pytest.raises(InputError, match="is a device or a pipe"):
        TableWriter(pipe).prepare(overwrite=True)
    folder = fill(tmp_path / "pictures", np.zeros((40, 4, 4, 1), np.uint8))
    os.mkfifo(folder / "x.png")
    assert "passed over devices and pipes in" in " ".join(open_images(folder).notes)


@pytest.mark.parametrize("suffix", [".csv", ".csv.gz", ".jsonl", ".parquet", ".feather", ".npz"])
def test_files_have_any_name(tmp_path, suffix):
    folder = tmp_path / os.fsdecode(b"f\xff")
    path = folder / os.fsdecode(b"\xe9" + suffix.encode())
    try:
        folder.mkdir()
    except OSError:
        pytest.skip("this file system has no names but those in UTF-8")
    table = pa.table({"a": DRAW.normal(size=40), "b": DRAW.normal(size=40)})
    with TableWriter(path) as writer:
        writer.write(table)
    assert pa.concat_tables(read_tables(path)).equals(table)
    assert open_data(path).train.n_rows > 20
    model = folder / "m.safetensors"
    model.write_bytes(save({"x": torch.ones(2)}, {"k": "v"}))
    texts, tensors = read_tensors(model)
    assert (texts, tensors["x"].tolist()) == ({"k": "v"}, [1.0, 1.0])


def test_names_of_5000_characters(tmp_path, capsys):
    long, path = "x" * 5000, tmp_path / "a.csv"
    path.write_text(f"{long},b\n" + "1.5,2\n2.5,1\n" * 20)
    out = TableWriter(tmp_path / "b.csv")
    data = open_data(path)
    assert data.schema.columns[0].name == long
    with out:
        out.write(next(iter(read_tables(path))))
    for words in (("--data", f"{long}.csv"), ("--data", path, "--out", tmp_path / long)):
        assert "long" in refused(capsys, "train", "nice", *words)


def test_nothing_that_a_terminal_obeys_is_printed(capsys):
    name = "a\x1b[2J\x07\u202eb\udcff\x9b" + "c\n"
    assert printable(name) == r"a\x1b[2J\x07\u202eb\xff\x9bc" + "\n"
    screen = Screen()
    screen.say(name)
    screen.table(["column"], [[name]])
    said = capsys.readouterr().out
    assert not set(said) & {"\x1b", "\x07", "\u202e", "\x9b"}
    assert caudal("train", name.strip() + ".csv") == 2
    assert r"\x1b[2J" in capsys.readouterr().err


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_any_encoding_of_the_terminal_will_do(encoding, monkeypatch):
    out = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    monkeypatch.setattr(sys, "stdout", out)
    assert caudal("recipes") == 0
    out.flush()
    assert b"nsf" in out.buffer.getvalue()


def test_line_breaks_in_names_break_no_line(capsys):
    screen = Screen()
    screen.table(["column", "kind"], [["net\n amount", "real"]])
    screen.note("gaps in net\r\namount")
    said = capsys.readouterr().out
    assert "net amount   real" in said
    assert "note: gaps in net amount\n" in said
    assert shorten("net\n amount", 30) == "net amount"


def test_narrow_terminals_keep_whole_words(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "40")
    assert caudal("recipes") == 0
    said = capsys.readouterr().out
    assert "nsf-ar\n  year: 2019\n  density: one pass\n  samples: one column at a time\n" in said
    screen = Screen()
    screen.console.width = 40
    kind = "real (-inf, inf), atoms 0"
    screen.table(["column", "kind", "missing", "values"], [["size", kind, "", "-2.5 .. 11"]])
    assert capsys.readouterr().out == f"size\n  kind: {kind}\n  values: -2.5 .. 11\n\n"


# --- values --------------------------------------------------------------------------------------


def test_formulas_are_escaped_where_that_is_asked_for(tmp_path):
    texts = ["=1+1", "@a", "-x", "+1", "plain", None, "\tb"]
    for escape in (False, True):
        path = tmp_path / f"{escape}.csv"
        with TableWriter(path, escape=escape) as writer:
            writer.write(pa.table({"=name": texts, "n": [-1.5] * 7}))
        lines = path.read_text().splitlines()
        mark = "'" if escape else ""
        assert lines[0] == f"{mark}=name,n"
        kept = [f"{mark}=1+1", f"{mark}@a", f"{mark}-x", "+1", "plain", "", f"{mark}\tb"]
        assert lines[1:] == [f"{text},-1.5" for text in kept]


@pytest.mark.parametrize("far", [1e12, 1e30, -1e38])
def test_one_value_far_out_is_said_and_does_no_harm(far):
    values = DRAW.normal(5, 2, 400)
    values[17] = far
    notes = " ".join(open_data({"v": values, "w": DRAW.normal(size=400)}).notes)
    assert f"'v' holds {far:g}, where half of the values lie between" in notes
    x = torch.from_numpy(values[:, None]).float()
    marginal = Gaussianise(torch.tensor([-torch.inf]), torch.tensor([torch.inf]))
    marginal.observe(x)
    z, log_det = marginal.inverse(x)
    assert z.isfinite().all()
    assert log_det.isfinite().all()
    back, _ = marginal.forward(z)
    near = x.abs() < 100
    torch.testing.assert_close(back[near], x[near], rtol=1e-3, atol=1e-3)


def test_a_mode_far_out_is_no_slip():
    """A fifth of the rows lie a million times as far out as the middle half is wide."""
    rng = np.random.default_rng(0)
    near = np.sort(rng.uniform(0, 1e-4, 1600))
    values = np.concatenate([near, np.sort(1e3 + rng.normal(size=400))])
    ends = (-np.inf, np.inf, 0.0, np.empty((0, 2)))
    knots = marginals.fit(Values.of(values), *ends).x
    assert (np.asarray(knots) > 500).any()


@pytest.mark.parametrize(
    ("types", "decimals", "said"),
    [
        ([], 9, "'v' is 0 in 50% of the rows: that value has a probability of its own"),
        (["v=real"], 9, "'v' is 0 in 50% of the rows: a density can grow there without limit"),
        ([], 0, None),
    ],
)
def test_a_value_of_half_of_the_rows_is_said(types, decimals, said):
    values = np.where(np.arange(400) % 2, 0.0, DRAW.normal(50, 20, 400).round(decimals))
    data = open_data({"v": values, "w": DRAW.normal(size=400)}, types=types)
    notes = " ".join(data.notes)
    assert said in notes if said else "of the rows" not in notes
