"""What `caudal train` says of audio before it trains: its clips, what they are given, a crop."""

from caudal.cli.preview import show_notes
from caudal.cli.screen import Screen
from caudal.data import Dataset
from caudal.recipes.wavenet import AudioRecipe
from caudal.report.story import duration

MOST = 20  # values of a label told one by one


def show_data(screen: Screen, data: Dataset) -> None:
    """What the clips are, how long, what a flow is told of them, and how many in each part."""
    schema = data.schema
    screen.say(f"\n{data.name}")
    parts = (("training", data.train), ("validation", data.valid), ("test", data.test))
    told = [f"{len(p.names):,} {name} ({duration(p.duration)})" for name, p in parts]
    screen.say(f"{schema.size}; clips: {', '.join(told)}")
    crop = f"{schema.crop:,} samples ({schema.crop / schema.rate:.3g} s)"
    screen.say(f"trains on crops of {crop}, {data.train.n_rows:,} in a pass over the clips")
    for line in given(data):
        screen.say(line)
    show_notes(screen, data)


def given(data: Dataset) -> list[str]:
    """What the flow is conditioned on, in words."""
    schema = data.schema
    lines = []
    if schema.mels:
        step = 1000 * schema.hop / schema.rate
        lines.append(f"given the log-mel spectrum, {schema.mels} bands every {step:.3g} ms")
    for column in schema.context:
        if column.categories is None:
            lines.append(f"given {column.name}, a number")
            continue
        names = [str(name) for name in column.categories]
        more = f", ... and {len(names) - MOST} more" if len(names) > MOST else ""
        lines.append(f"given {column.name}, of {len(names)}: {', '.join(names[:MOST])}{more}")
    return lines or ["given nothing"]


def show_receptive_field(screen: Screen, recipe: AudioRecipe, rate: int) -> None:
    """How far back a sample sees, in samples and in milliseconds."""
    field = recipe.receptive_field
    screen.say(f"receptive field {field:,} samples, {1000 * field / rate:,.4g} ms\n")
