"""The files that `fuzz.py` damages: one of each kind that is read, and tiny runs."""

import gzip
import io
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pandas as pd

from attacks import HERE, prepare

RUNS = ("image", "audio", "audio_student")
"""Runs among the fixtures of the tests."""


def prepare_more(place: Path) -> None:
    """The files of `attacks.py`, and those of the kinds that are read here only."""
    prepare(place)
    with gzip.open(place / "rows.csv.gz", "wb") as file:
        file.write((place / "rows.csv").read_bytes())
    lines = (place / "rows.jsonl").read_text().splitlines()
    (place / "rows.json").write_text(f"[{','.join(lines)}]")
    (place / "rows.tsv").write_text((place / "rows.csv").read_text().replace(",", "\t"))
    _write_pictures(place)
    _write_sounds(place)
    _pack(place / "images.tar", {f"{i}.png": place / "pictures" / "a.png" for i in range(12)})
    _pack(place / "sounds.tar", {f"{i}.wav": place / "sounds" / "a.wav" for i in range(12)})
    _write_forms(place)
    for name in RUNS:
        shutil.copytree(HERE.parent / "tests" / "fixtures" / name, place / name)


def _write_pictures(place: Path) -> None:
    from PIL import Image
    from scipy.io import savemat

    pixels = np.random.default_rng(0).integers(0, 255, (12, 6, 6), dtype=np.uint8)
    np.save(place / "images.npy", pixels)
    head = bytes([0, 0, 8, 3]) + b"".join(n.to_bytes(4, "big") for n in pixels.shape)
    (place / "train-images-idx3-ubyte").write_bytes(head + pixels.tobytes())
    inks = np.repeat(pixels.transpose(1, 2, 0)[:, :, None], 3, axis=2)  # (H, W, 3, N)
    savemat(place / "train_6x6.mat", {"X": inks, "y": np.arange(12)[:, None] % 2 + 1})
    for suffix in ("jpg", "webp", "bmp"):
        (place / suffix).mkdir()
        for number, image in enumerate(pixels):
            Image.fromarray(image).save(place / suffix / f"{number}.{suffix}")
    encoded = [(place / "jpg" / f"{i}.jpg").read_bytes() for i in range(12)]
    pd.DataFrame({"image": encoded, "label": np.arange(12) % 2}).to_parquet(
        place / "images.parquet"
    )


def _write_sounds(place: Path) -> None:
    import soundfile

    draw = np.random.default_rng(0)
    for suffix in ("flac", "ogg", "mp3"):
        (place / suffix).mkdir()
        for name in "abcd":
            noise = 0.1 * draw.normal(size=900)
            soundfile.write(place / suffix / f"{name}.{suffix}", noise, 8000)


def _write_forms(place: Path) -> None:
    """A table whose columns have formats, orders, levels, gaps and sums, and its run."""
    import caudal

    draw, n = np.random.default_rng(1), 80
    net = draw.lognormal(3, 1, n).round(2)
    tax = (net * draw.choice([0.1, 0.2], n)).round(2)
    ordered = pd.Timestamp("2024-01-03") + pd.to_timedelta(draw.integers(0, 200, n), "D")
    shipped = ordered + pd.to_timedelta(draw.integers(0, 9, n), "D")
    city = draw.choice(["Bari", "Cork", "Oslo"], n)
    columns = {
        "net": net,
        "tax": tax,
        "gross": (net + tax).round(2),
        "price": [f"€{value:,.2f}" for value in draw.lognormal(6, 1, n)],
        "share": [f"{value:.1f}%" for value in draw.uniform(0, 100, n)],
        "ordered": ordered.strftime("%d/%m/%Y"),
        "shipped": shipped.strftime("%d/%m/%Y"),
        "lasted": [f"{m // 60}h {m % 60:02d}m" for m in draw.integers(5, 600, n)],
        "begun": [f"{m // 60:02d}:{m % 60:02d}" for m in draw.integers(0, 1440, n)],
        "city": city,
        "country": pd.Series(city).map({"Bari": "IT", "Cork": "IE", "Oslo": "NO"}),
        "level": pd.cut(net, [0, 12, 30, np.inf], labels=["low", "medium", "high"]),
        "shift": np.where(draw.random(n) < 0.1, "", draw.choice(["early", "late"], n)),
        "fee": np.where(draw.random(n) < 0.4, 0.0, draw.exponential(3, n).round(2)),
        "id": np.arange(1, n + 1),
    }
    data = place / "forms.csv"
    pd.DataFrame(columns).to_csv(data, index=False)
    small = {"layers": 2, "hidden": (8,), "steps": 8, "validate_every": 4}
    caudal.train("nice", str(data), out=place / "forms", report=False, **small)


def _pack(tar: Path, files: dict[str, Path]) -> None:
    """A tar of files by their names within it, each with a class."""
    with tarfile.open(tar, "w") as shard:
        for number, (name, path) in enumerate(files.items()):
            shard.add(path, name)
            info = tarfile.TarInfo(f"{number}.cls")
            info.size = 1
            shard.addfile(info, io.BytesIO(str(number % 2).encode()))
