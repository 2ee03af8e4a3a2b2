"""Small runs of the command line whose numbers are kept in tests/golden.

Each case is a chain of commands on data that it makes itself. Everything goes through the words
of the command line, so that the numbers outlive any change of what lies beneath it.
"""

import contextlib
import hashlib
import io
import itertools
import json
import math
import platform
from pathlib import Path
from unittest import mock

import numpy as np
import soundfile
import torch
from PIL import Image

import audio_files
import image_files
from caudal.cli import main
from caudal.data import TableWriter
from command_line import people, shapes

GOLDEN = Path(__file__).parent / "golden"
# Timings differ from run to run, and sentences may be reworded; numbers may not change.
UNPINNED = {"seconds", "rows_per_second", "speed", "verdict", "terms", "gaussian"}
UNPINNED |= {"voicing", "pitch", "pitch_rms", "harmonicity"}  # which are there with an extra alone
SMALL = ("--layers", 2, "--hidden", 8, "--steps", 6, "--batch-size", 64, "--validate-every", 3)
IMAGES = ("--steps", 4, "--batch-size", 16, "--validate-every", 2)
SOUND = ("--channels", 8, "--layers", 4, "--cycle", 4, "--seconds", 0.1, *IMAGES)


class Commands:
    """Runs commands in a folder and keeps what they leave behind, as plain values.

    Attributes:
        folder: where data are made and runs are written.
        artefacts: the values by name, such as "run/metrics.jsonl", and SHA-256 of the files
            whose bytes are pinned too.
    """

    def __init__(self, folder):
        self.folder = Path(folder)
        self.artefacts = {}

    def run(self, *words):
        """Runs a command and gives its standard output."""
        output, errors = io.StringIO(), io.StringIO()
        words = [str(word) for word in words]
        with contextlib.redirect_stdout(output), contextlib.redirect_stderr(errors):
            code = main(words)
        assert code == 0, f"caudal {' '.join(words)}: {errors.getvalue()}"
        return output.getvalue()

    def train(self, recipe, data, *words, out="run"):
        """Trains into the folder `out` and keeps the numbers of the run."""
        path = self.folder / out
        common = ("--out", path, "--no-report", "--accelerator", "cpu")
        self.run("train", recipe, "--data", data, *words, *common)
        self._keep_run(path)
        return path

    def distill(self, teacher, *words, out="student"):
        """Distils a student into the folder `out` and keeps its numbers."""
        path = self.folder / out
        common = ("--no-report", "--accelerator", "cpu")
        clock = itertools.count(step=10.0)  # what seems slow is timed once
        with mock.patch("time.perf_counter", side_effect=clock):
            self.run("distill", teacher, "--out", path, *words, *common)
        self._keep_run(path)
        return path

    def evaluate(self, run, *words):
        """Keeps what `caudal eval --json` prints."""
        text = self.run("eval", run, *words, "--device", "cpu", "--json")
        self._keep_printed("eval", run, text)

    def sample(self, run, name, *words):
        """Keeps the sampled file, and what `caudal sample --json` prints."""
        self._write("sample", run, name, *words)

    def score(self, run, name, *words):
        """Keeps the scored file, and what `caudal score --json` prints."""
        self._write("score", run, name, *words)

    def _write(self, command, run, name, *words):
        path = self.folder / name
        text = self.run(command, run, "--out", path, *words, "--device", "cpu", "--json")
        self._keep_printed(f"{command} {name}", run, text)
        for file in sorted(path.rglob("*.*")) if path.is_dir() else [path]:
            self._keep(file)

    def _keep_run(self, path):
        for name in ("metrics.jsonl", "eval.json", "compare.json"):
            if (path / name).exists():
                self._keep(path / name)

    def _keep_printed(self, command, run, text):
        lines = text.strip().splitlines()
        assert len(lines) == 1, text
        self.artefacts[f"{command} --json of {run.name}"] = {
            "values": self._plain(json.loads(lines[0]))
        }

    def _keep(self, path):
        artefact = {"values": self._plain(_values(path))}
        if path.suffix in {".csv", ".npy", ".npz", ".png"}:
            picture = path.suffix == ".png"  # its compression depends on Pillow, its pixels do not
            content = np.asarray(Image.open(path)).tobytes() if picture else path.read_bytes()
            artefact["sha256"] = hashlib.sha256(content).hexdigest()
        self.artefacts[path.relative_to(self.folder).as_posix()] = artefact

    def _plain(self, value):
        """The value without what is not pinned, and with FOLDER for the folder's own path."""
        if isinstance(value, dict):
            return {k: self._plain(v) for k, v in value.items() if k not in UNPINNED}
        if isinstance(value, list):
            return [self._plain(item) for item in value]
        return value.replace(str(self.folder), "FOLDER") if isinstance(value, str) else value


def _values(path):
    """The content of a file as lists, dictionaries, numbers and text."""
    if path.suffix == ".json":
        return json.loads(path.read_text(encoding="utf-8"))
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    if path.suffix == ".csv":
        return path.read_text(encoding="utf-8").splitlines()
    if path.suffix == ".wav":
        samples, rate = soundfile.read(path, dtype="int16")
        return {"rate": rate, "pcm16": samples.tolist()}
    if path.suffix == ".png":
        return {"shape": list(np.asarray(Image.open(path)).shape)}  # too many for all of them
    loaded = np.load(path)
    if path.suffix == ".npz":
        return {name: _array(loaded[name]) for name in loaded.files}
    return _array(loaded)


def _array(array):
    return {"dtype": str(array.dtype), "shape": list(array.shape), "data": array.ravel().tolist()}


# --- the cases -------------------------------------------------------------------------------


def table(do):
    """A mixed table: integers, reals with modelled gaps, categories, a positive column."""
    data = _people(do.folder / "people.csv")
    run = do.train("realnvp", data, "--types", "income=positive", "--missing", "model", *SMALL)
    do.evaluate(run, "--seed", 1)
    do.evaluate(run, "--data", data, "--limit", 50)
    do.sample(run, "sampled.csv", "-n", 8, "--seed", 3)
    do.score(run, "scored.csv", "--data", _people(do.folder / "new.csv", rows=10, seed=5))


def table_array(do):
    """Two real columns without noise, from an array, split in three by hand."""
    rng = np.random.default_rng(1)
    for name, rows in {"train": 300, "valid": 50, "test": 60}.items():
        np.save(do.folder / f"{name}.npy", rng.normal(size=(rows, 2)) @ [[1.0, 0.5], [0.0, 2.0]])
    parts = ("--valid", do.folder / "valid.npy", "--test", do.folder / "test.npy")
    run = do.train("made", do.folder / "train.npy", *parts, *SMALL[2:])
    do.evaluate(run)
    do.sample(run, "sampled.npy", "-n", 6, "--temperature", 0.7)
    do.score(run, "scored.npy", "--data", do.folder / "valid.npy")


def table_context(do):
    """Two columns given two others."""
    data = _people(do.folder / "people.csv", gaps=False)
    columns = ("--columns", "income", "height", "--context", "age", "city")
    run = do.train("nsf", data, *columns, *SMALL, "--ema", 0.9, "--dropout", 0.1)
    do.evaluate(run)
    do.sample(run, "sampled.csv", "-n", 6)
    do.sample(run, "given.csv", "-n", 4, "--given", "city=Ávila", "age=40", "--seed", 2)
    new = _people(do.folder / "new.csv", rows=8, seed=5, gaps=False)
    do.sample(run, "from_file.csv", "--context-file", new)
    do.score(run, "scored.csv", "--data", new)


def table_estimate(do):
    """A flow whose log-det is estimated."""
    data = _people(do.folder / "people.csv", rows=200)
    words = ("--missing", "drop", "--blocks", 2, *SMALL[2:], "--steps", 3)
    run = do.train("residual-flow", data, *words)
    do.evaluate(run, "--limit", 10)
    do.sample(run, "sampled.csv", "-n", 4)
    do.score(run, "scored.csv", "--data", _people(do.folder / "new.csv", rows=6, seed=5))


def table_student(do):
    """A MAF and its student, both with a context."""
    data = _people(do.folder / "people.csv")
    teacher = do.train("maf", data, "--context", "city", "--missing", "model", *SMALL)
    few = ("--steps", 4, "--batch-size", 64, "--pool", 300, "--validate-every", 2)
    student = do.distill(teacher, *few)
    do.evaluate(student, "--seed", 1)
    do.sample(student, "sampled.csv", "-n", 6)
    do.sample(teacher, "swept.csv", "-n", 6, "--sweeps")
    do.sample(student, "exact.csv", "-n", 6, "--exact", teacher, "--exact-steps", 3)
    do.score(student, "scored.csv", "--data", _people(do.folder / "new.csv", rows=6, seed=5))


def image_class(do):
    """A Glow of colour images given their class, from a folder of files."""
    data = image_files.fill(do.folder / "shapes", *shapes(60, channels=3))
    words = ("--layers", 1, "--maps", 4, "--scales", 2, "--context", "class")
    run = do.train("glow", data, *words, *IMAGES, "--flips")
    do.evaluate(run, "--draws", 2)
    do.sample(run, "sampled.npz", "-n", 3)
    do.sample(run, "sheet.png", "-n", 2, "--given", "class=bar", "--temperature", 0.7)
    new = image_files.fill(do.folder / "new", *shapes(8, seed=2, channels=3))
    do.score(run, "scored.csv", "--data", new)


def image_vector(do):
    """A recipe of vectors on 6x6 images of an array."""
    np.savez(do.folder / "images.npz", images=image_files.pixels(80, 6, 6))
    words = ("--layers", 2, "--hidden", 16, "--bits", 5)
    run = do.train("maf", do.folder / "images.npz", *words, *IMAGES)
    do.evaluate(run)
    do.sample(run, "sampled.npy", "-n", 3)
    np.savez(do.folder / "new.npz", images=image_files.pixels(6, 6, 6, seed=3))
    do.score(run, "scored.csv", "--data", do.folder / "new.npz")


def image_variational(do):
    """Spline couplings and variational dequantisation."""
    np.save(do.folder / "images.npy", shapes(60)[0])
    words = ("--layers", 1, "--maps", 4, "--dequantization", "variational")
    run = do.train("nsf-image", do.folder / "images.npy", *words, *IMAGES)
    do.evaluate(run)
    do.sample(run, "sampled.npy", "-n", 2)
    do.score(run, "scored.csv", "--data", do.folder / "images.npy")


def audio(do):
    """A WaveNet given the spectrum and a label, on files."""
    data = _tones(do.folder / "tones", 24)
    words = ("--context", "mel", "what", "--labels", "{index}_{what}", "--mels", 8)
    run = do.train("wavenet", data, *words, *SOUND, "--law", "logistics", "--components", 2)
    do.evaluate(run)
    new = _tones(do.folder / "new", 2, seconds=0.1)
    do.sample(run, "copy.wav", "--mel-of", new / "0_low.wav", "--given", "what=low")
    do.score(run, "scored.csv", "--data", new)


def audio_student(do):
    """A WaveNet given a label alone, and its student."""
    words = ("--context", "what", "--labels", "{index}_{what}")
    teacher = do.train("wavenet", _tones(do.folder / "tones", 24), *words, *SOUND)
    do.evaluate(teacher, "--limit", 2)
    do.sample(teacher, "teacher.wav", "--seconds", 0.05, "--given", "what=low")
    student = do.distill(teacher, "--flows", 3, 2, *IMAGES, "--batch-size", 4)
    do.sample(student, "student.wav", "--seconds", 0.05, "--seed", 1)


CASES = (
    table, table_array, table_context, table_estimate, table_student,
    image_class, image_vector, image_variational, audio, audio_student,
)  # fmt: skip


def _people(path, rows=400, seed=0, gaps=True):
    """Writes the table, with a gap in every ninth height."""
    made = people(rows, seed)
    if gaps:
        heights = [None if i % 9 == 0 else v for i, v in enumerate(made["height"].to_pylist())]
        made = made.set_column(1, "height", [heights])
    with TableWriter(path) as writer:  # without quotes
        writer.write(made)
    return path


def _tones(folder, count, seconds=0.6):
    """Writes so many tones, every other one an octave higher."""
    for index in range(count):
        what, hertz = ("low", 200) if index % 2 == 0 else ("high", 400)
        wave = audio_files.tone(seconds + 0.03 * (index % 5), hertz + 5 * index, seed=index)
        audio_files.save(folder / f"{index}_{what}.wav", wave)
    return folder


# --- goldens ---------------------------------------------------------------------------------


def fingerprint():
    """What the last bits of a number depend on."""
    return {
        "torch": torch.__version__,
        "capability": torch.backends.cpu.get_cpu_capability(),
        "machine": platform.machine(),
        "processor": _processor(),
    }


def _processor():
    """Who made the processor: matrix libraries choose their code by it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    return next((line.split(":")[1].strip() for line in lines if "vendor_id" in line), "")


def made(case, folder):
    """The artefacts of a case, made anew."""
    commands = Commands(folder)
    case(commands)
    return commands.artefacts


def write(case, folder):
    """Writes the golden of a case, a line for each row, record or key."""
    artefacts = made(case, folder)
    parts = [f'"fingerprint": {json.dumps(fingerprint())}']
    for name, artefact in artefacts.items():
        digest = [f'"sha256": "{artefact["sha256"]}"'] if "sha256" in artefact else []
        fields = ",\n".join([*digest, f'"values": {_lines(artefact["values"])}'])
        parts.append(f"{json.dumps(name)}: {{\n{fields}\n}}")
    text = "{\n" + ",\n".join(parts) + "\n}\n"
    json.loads(text)
    (GOLDEN / f"{case.__name__}.json").write_text(text, encoding="utf-8")


def _lines(value):
    if isinstance(value, dict):
        items = (f"{json.dumps(key)}: {_compact(item)}" for key, item in value.items())
        return "{\n" + ",\n".join(items) + "\n}"
    return "[\n" + ",\n".join(map(_compact, value)) + "\n]"


def _compact(value):
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def differences(case, folder):
    """What differs from the golden: which artefact, which key, both values."""
    golden = json.loads((GOLDEN / f"{case.__name__}.json").read_text(encoding="utf-8"))
    exact = golden.pop("fingerprint") == fingerprint()
    artefacts = made(case, folder)
    lines = []
    for name, kept in golden.items():
        if name not in artefacts:
            lines.append(f"{name}: missing")
            continue
        now = artefacts[name]
        lines += _different(name, kept["values"], now["values"], exact)
        if exact and kept.get("sha256") != now.get("sha256"):
            lines.append(f"{name}: sha256: golden {kept.get('sha256')}, now {now.get('sha256')}")
    return lines


def _different(where, golden, now, exact):
    if isinstance(golden, dict) and isinstance(now, dict):
        for key, value in golden.items():
            if key not in now:
                yield f"{where}: {key}: missing, golden {value!r}"
            else:
                yield from _different(f"{where}: {key}", value, now[key], exact)
    elif isinstance(golden, list) and isinstance(now, list) and len(golden) == len(now):
        for index, pair in enumerate(zip(golden, now, strict=True)):
            yield from _different(f"{where}: {index}", *pair, exact)
    elif not _equal(golden, now, exact, sound="pcm16" in where):
        yield f"{where}: golden {repr(golden):.300}, now {repr(now):.300}"


def _equal(golden, now, exact, sound=False):
    """Whether two values are equal: to the bit, or on another machine nearly."""
    if type(golden) is not type(now):
        return False
    if exact:
        return repr(golden) == repr(now)  # NaN equals itself, and 0.0 is not -0.0
    if sound:
        return abs(golden - now) <= 33  # a thousandth of full scale
    if isinstance(golden, float):
        close = math.isclose(golden, now, rel_tol=1e-3, abs_tol=1e-3)
        return close or (math.isnan(golden) and math.isnan(now))
    if isinstance(golden, str) and "," in golden:  # a row of a table
        cells = golden.split(","), now.split(",")
        return len(cells[0]) == len(cells[1]) and all(map(_equal_cells, *cells))
    return golden == now


def _equal_cells(golden, now):
    if golden == now:
        return True
    try:
        real = "." in golden or "." in now
        return real and math.isclose(float(golden), float(now), rel_tol=1e-3, abs_tol=1e-3)
    except ValueError:
        return False
