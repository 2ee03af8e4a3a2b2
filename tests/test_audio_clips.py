"""Clips as rows: crops that start at frames, their context, the same batches for a seed."""

from collections import Counter

import numpy as np
import pytest
import torch

from audio_files import fill, save, tone
from caudal.data import AudioSchema, open_audio, open_clips
from caudal.data.audio.clips import Crops
from caudal.data.audio.form import Form
from caudal.data.schema import Column
from caudal.training.rows import (
    calibration_rows,
    fingerprint,
    resident,
    sample_rows,
    share,
    to_device,
)
from caudal.training.rows import within as rows_within

SCHEMA = AudioSchema(8000, 1024, 128, mels=10, window=512)
DIGIT = Column("i", "categorical", categories=(1, 2, 3))
LABELLED = AudioSchema(8000, 1024, 128, mels=10, window=512, context=(DIGIT,))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("clips")
    fill(path, seconds=0.5)
    save(path / "short.wav", tone(0.07))
    return path


@pytest.fixture(params=[1 << 30, 0], ids=["memory", "streamed"])
def clips(request, folder):
    return open_clips(folder, SCHEMA, memory=request.param).source


def same(one, other):
    assert len(one) == len(other)
    for a, b in zip(one, other, strict=True):
        assert a.x.equal(b.x)
        assert (a.context is None) == (b.context is None)
        assert a.context is None or a.context.equal(b.context)


def place_of(clips, x):
    """The clip and the sample at which a crop starts."""
    for index in range(len(clips.names)):
        wave = clips.clip(index).x
        wave = torch.nn.functional.pad(wave, (0, max(0, x.shape[1] - wave.shape[1])))
        windows = wave[0].unfold(0, x.shape[1], clips.schema.hop)
        hits = (windows == x).all(1).nonzero()
        if len(hits):
            return index, int(hits[0]), wave.shape[1]
    raise AssertionError("this crop is in no clip")


def test_counts(clips):
    wanted = sum(max(1, round(length / 1024)) for length in clips.lengths)
    assert clips.n_rows == len(clips) == wanted
    assert clips.duration == pytest.approx(sum(clips.seconds))
    assert clips.n_padded == 1
    assert clips.row_numbers == 1024


def test_shuffled_crops_start_at_frames_with_the_context_of_their_clip(clips):
    batches = list(clips.shuffled(4, seed=3))
    assert len(batches) == clips.n_rows // 4
    seen = Counter()
    for batch in batches:
        assert batch.x.shape == (4, 1, 1024)
        assert batch.x.dtype == batch.context.dtype == torch.float32
        assert batch.context.shape == (4, 10, 8)
        for x, context in zip(*batch, strict=True):
            index, frame, _ = place_of(clips, x)
            whole = clips.clip(index).context[:, frame : frame + 8]
            assert torch.allclose(context[:, : whole.shape[1]], whole, atol=1e-4)
            seen[index] += 1
    assert len(seen) >= 20


def test_the_same_seed_gives_the_same_batches_and_skips(clips):
    every = list(clips.shuffled(4, seed=3))
    torch.randn(3)
    same(list(clips.shuffled(4, seed=3)), every)
    for skip in (1, 5, len(every) - 1, len(every), len(every) + 3):
        same(list(clips.shuffled(4, seed=3, skip=skip)), every[skip:])
    assert not every[0].x.equal(next(clips.shuffled(4, seed=4)).x)


def test_ordered_crops_cover_each_clip(clips):
    crops = [x for batch in clips.ordered(5) for x in batch.x]
    expected = []
    for index, length in enumerate(clips.lengths):
        wave = torch.nn.functional.pad(clips.clip(index).x, (0, 1024))
        end = max(0, length // 128 * 128 - 1024)
        expected += [wave[:, s : s + 1024] for s in [*range(0, end, 1024), end]]
    assert torch.stack(crops).equal(torch.stack(expected))


def test_short_clips_are_followed_by_silence(clips):
    index = list(clips.names).index("short.wav")
    length = clips.lengths[index]
    assert length < 1024
    x = [b.x[0] for b in clips.ordered(1)][-1]
    assert x[:, :length].equal(clips.clip(index).x)
    assert (x[:, length:] == 0).all()


def test_streamed_files_are_decoded_once_a_pass(folder, monkeypatch):
    streamed = open_clips(folder, SCHEMA, memory=1).source
    seen = Counter()
    read = Form.read
    monkeypatch.setattr(Form, "read", lambda f, r, p: (seen.update([r.name]), read(f, r, p))[1])
    batches = list(streamed.shuffled(4, seed=0))
    assert set(seen.values()) == {1}
    order = [place_of(streamed, x)[0] for batch in batches for x in batch.x]
    assert len(set(order[:6])) > 1  # crops of several clips are mixed
    seen.clear()
    skipped = len(list(streamed.shuffled(4, seed=0, skip=len(batches) - 1)))
    assert skipped == 1
    assert sum(seen.values()) <= 4


def test_a_file_that_changed_is_refused(tmp_path):
    fill(tmp_path, 4)
    streamed = open_clips(tmp_path, SCHEMA, memory=0).source
    save(tmp_path / "2.wav", tone(0.3))
    with pytest.raises(ValueError, match=r"2\.wav has changed"):
        list(streamed.ordered(4))


def test_memory_and_streams_agree(folder):
    memory, streamed = (open_clips(folder, SCHEMA, memory=m).source for m in (1 << 30, 0))
    same(list(memory.ordered(7)), list(streamed.ordered(7)))
    assert fingerprint(memory) == fingerprint(streamed)


def test_starts_are_uniform_and_include_both_ends():
    crops = Crops([1024 + 4 * 128 + 50] * 4000, 8, 128)
    plan = crops.shuffled(0, 10**9)
    assert sorted(set(plan[:, 1].tolist())) == [0, 1, 2, 3, 4]
    counts = np.bincount(plan[:, 1])
    assert np.abs(counts / len(plan) - 0.2).max() < 0.02
    assert np.bincount(plan[:, 0]).tolist() == [2] * 4000  # 1586 / 1024 is nearer to 2


def test_crops_of_few_clips_are_open_at_a_time():
    lengths = np.random.default_rng(0).integers(2000, 9000, 200).tolist()
    crops = Crops(lengths, 8, 128)
    for together, most in ((0, 4), (60_000, 30)):
        plan = crops.shuffled(1, together)[:, 0].tolist()
        first = {clip: plan.index(clip) for clip in set(plan)}
        last = {clip: len(plan) - plan[::-1].index(clip) for clip in set(plan)}
        held = [sum(first[c] <= i < last[c] for c in first) for i in range(len(plan))]
        assert 3 <= max(held) <= most
    assert sorted(plan) == sorted(crops.shuffled(2, 10**9)[:, 0].tolist())


def test_the_context_is_as_it_is_asked_for(folder):
    def context(**changes):
        fields = {**LABELLED.__dict__, **changes}
        clips = open_clips(folder, AudioSchema(**fields), fixed={"i": 2}).source
        return next(clips.shuffled(3, 0)).context, clips.clip(0).context

    crop, whole = context()
    assert crop.shape == (3, 11, 8)
    assert (crop[:, 0] == 1).all()
    assert (whole[0] == 1).all()
    crop, whole = context(mels=0)
    assert crop.tolist() == [[[1.0]]] * 3
    assert whole.tolist() == [[1.0]]
    assert context(mels=0, context=()) == (None, None)


@pytest.mark.parametrize("window", [64, 128, 333, 2048])
def test_any_window(folder, window):
    clips = open_clips(folder, AudioSchema(8000, 1024, 128, mels=4, window=window)).source
    batch = next(clips.ordered(3))
    assert batch.context.shape == (3, 4, 8)
    assert torch.allclose(batch.context[0], clips.clip(0).context[:, :8], atol=1e-4)


def test_training_can_use_them(clips):
    assert rows_within(clips, 100_000, 1 << 20) == 1024
    assert rows_within(clips, 100_000, 10) == 256
    some = sample_rows(clips, 8, seed=0)
    assert some.x.shape == (8, 1, 1024)
    same([sample_rows(clips, 8, seed=0)], [some])
    every = calibration_rows(clips, seed=0)
    assert len(every.x) >= clips.n_rows
    assert len(every.context) == len(every.x)
    assert resident(clips, torch.zeros(1)) is clips
    assert to_device(some, torch.zeros(1, dtype=torch.float64)).context.dtype == torch.float64
    half = share(some, 1, 2)
    assert half.x.equal(some.x[1::2])
    assert half.context.equal(some.context[1::2])


def test_the_fingerprint_knows_clips_and_labels(folder):
    given = [open_clips(folder, LABELLED, fixed={"i": i}).source for i in (1, 1, 2)]
    prints = [fingerprint(clips) for clips in given]
    assert prints[0] == prints[1]
    assert prints[0] != prints[2]
    assert fingerprint(open_audio(folder).train) != fingerprint(open_audio(folder, seed=1).train)


@pytest.mark.parametrize("memory", [1 << 30, 0])
def test_progress_is_told(folder, memory):
    seen = []

    def progress(found, total):
        for item in found:
            seen.append(total)
            yield item

    open_audio(folder, memory=memory, progress=progress)
    assert seen == [25] * 25
