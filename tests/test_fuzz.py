"""Whatever comes in from outside is taken or refused in the documented way: no other error, nothing that hangs.

`make soak` tries ten thousand inputs each.
"""

import io
import json
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from lab_utils.base.arguments import PointsError
from lab_utils.diffusion.network import DiffusionGenerator
from lab_utils.diffusion.schedules import ScheduleError, from_config, linear, sigmoid
from lab_utils.diffusion.training import Recipe
from lab_utils.points import reading
from lab_utils.points.dataset import Dataset
from lab_utils.points.pictures import draw_dots, own_points
from lab_utils.points.validation import validate
from lab_utils.runs.chunks import Chunks, ChunksError
from lab_utils.study.table import TableError, read, read_table

UNHURRIED = settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
def folder():
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


# --- points

CELLS = st.one_of(
    st.floats().map(repr),
    st.integers().map(str),
    st.sampled_from(["", " ", "nan", "1,5", "1.5", "x", '"', "1e999", "-", "0x10", "1_000", "٣", "1\x00"]),
    st.text(max_size=5),
)
LINES = st.builds(
    lambda mark, cells, end: mark.join(cells) + end,
    *(st.sampled_from([",", ";", "\t", " ", ",,"]), st.lists(CELLS, max_size=4)),
    st.sampled_from(["\n", "\r\n", "\r", "", "\n\n"]),
)
FILES = st.one_of(
    st.binary(max_size=300),
    st.lists(LINES, max_size=20).map(lambda lines: "".join(lines).encode("utf-8", "surrogatepass")),
    st.builds(
        lambda lines, code: "".join(lines).encode(code, "replace"),
        *(st.lists(LINES, max_size=20), st.sampled_from(["utf-16", "utf-8-sig", "cp1250", "ascii"])),
    ),
    # what one would hope for: mostly numbers
    st.lists(st.tuples(st.floats(-1e6, 1e6), st.floats(width=32)), max_size=30).map(
        lambda rows: b"x,y\n" + b"".join(b"%r,%r\n" % row for row in rows)
    ),
)


def damaged(content, changes, cut):
    """Some bytes changed, and the end cut off."""
    return bytes(changes.get(place, byte) for place, byte in enumerate(content[: len(content) - cut]))


def written(rows, save):
    buffer = io.BytesIO()
    save(pd.DataFrame(rows, columns=["x", "y"]), buffer)
    return buffer.getvalue()


ROWS = st.lists(st.tuples(st.floats(), st.floats(width=32)), min_size=1, max_size=9)
ARRAYS = st.builds(written, ROWS, st.just(lambda table, file: np.save(file, table.to_numpy())))
PARQUET = st.builds(written, ROWS, st.just(pd.DataFrame.to_parquet))
CHANGES = st.dictionaries(st.integers(0, 200), st.integers(0, 255), max_size=5)
CHOICES = st.fixed_dictionaries(
    {},
    optional={
        "columns": st.lists(st.integers(-1, 4) | st.sampled_from(["x", "y", "", "0", "1"]), max_size=3),
        "label": st.integers(-1, 4) | st.sampled_from(["x", "2"]),
        "missing": st.sampled_from(["raise", "drop"]),
    },
)


@UNHURRIED
@given(
    st.one_of(
        st.tuples(FILES, st.sampled_from([".csv", ".npy", ".parquet"])),
        st.tuples(ARRAYS | st.builds(damaged, ARRAYS, CHANGES, st.integers(0, 50)), st.just(".npy")),
        st.tuples(PARQUET | st.builds(damaged, PARQUET, CHANGES, st.integers(0, 50)), st.just(".parquet")),
    ),
    CHOICES,
)
def test_any_file_of_points_is_read_or_refused(folder, file, options):
    content, ending = file
    path = folder / f"points{ending}"
    path.write_bytes(content)
    try:
        table = reading.read_table(path, **options)
    except PointsError:
        return
    points = table.points
    if "label" in options:
        assert table.labels.shape == (len(points),)
        assert {*table.labels.tolist()} == {*range(len(table.classes))}
    assert points.shape == (len(points), 2)
    assert points.dtype == torch.float64
    assert points.isfinite().all()
    try:
        card = validate(points)
        data = Dataset.of(points, "fuzzed")
    except PointsError:
        return
    assert card.points == len(points)
    assert data.train.isfinite().all()


def picture(width, height, mode, format_, colours):
    buffer = io.BytesIO()
    image = Image.frombytes("RGB", (width, height), (colours * (width * height * 3))[: width * height * 3])
    image.convert(mode).save(buffer, format=format_)
    return buffer.getvalue()


PICTURES = st.builds(
    picture,
    *(
        st.integers(1, 12),
        st.integers(1, 12),
        st.sampled_from(["L", "RGB", "1"]),
        st.sampled_from(["PNG", "JPEG", "GIF"]),
    ),
    st.binary(min_size=1, max_size=30),
)
BROKEN = st.builds(
    damaged,
    *(PICTURES, CHANGES, st.integers(0, 50)),
)


@UNHURRIED
@given(PICTURES | BROKEN | st.binary(max_size=100), st.sampled_from([".png", ".jpg", ".JPEG"]))
def test_any_picture_is_read_or_refused(folder, content, suffix):
    path = folder / f"picture{suffix}"
    path.write_bytes(content)
    try:
        points = own_points(path, 50).points
    except PointsError:
        return
    assert points.shape == (50, 2)
    assert points.isfinite().all()


@given(st.lists(st.fixed_dictionaries({"x": st.floats(-1e6, 1e6), "y": st.floats(-1e6, 1e6)}), max_size=20))
def test_any_drawing_becomes_points(dots):
    try:
        points = draw_dots(dots, 30)
    except PointsError:
        assert not dots
        return
    assert points.isfinite().all()


# --- tables and jobs

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=15,
)
HEADER = "run,steps,lab,python,torch,processor,seconds,loss"
TABLES = st.one_of(
    FILES,
    st.lists(st.lists(CELLS, min_size=8, max_size=8).map(",".join), max_size=5).map(
        lambda lines: "\n".join([HEADER, *(f"{'0' * 16},{line}" for line in lines), ""]).encode("utf-8", "replace")
    ),
)


@UNHURRIED
@given(TABLES)
def test_any_table_is_read_or_refused(folder, content):
    path = folder / "table.csv"
    path.write_bytes(content)
    try:
        table = read(path)
    except TableError:
        return
    assert len(read_table(path)) == sum(len(rows) for rows in table.runs.values())


@UNHURRIED
@given(st.binary(max_size=50) | JSON.map(lambda value: json.dumps(value).encode()))
def test_any_folder_of_chunks_is_taken_or_refused(folder, content):
    chunks = Chunks(folder / "out.npy", 10, 4)
    chunks.folder.mkdir(exist_ok=True)
    (chunks.folder / "job.json").write_bytes(content)
    with pytest.raises(ChunksError, match=r"out\.npy\.parts"), chunks.open({"seed": 1}):
        raise AssertionError("opened")


# --- configurations

NUMBERS = st.integers(-3, 2000) | st.floats() | st.sampled_from([None, True, "5", [], 10**30])


@given(st.dictionaries(st.sampled_from([*Recipe.__dataclass_fields__]), NUMBERS | JSON, max_size=6))
def test_any_recipe_is_taken_or_refused(settings):
    try:
        recipe = Recipe(**settings)
    except ValueError:
        return
    assert recipe.epochs > 0


SCHEDULES = st.one_of(
    JSON,
    st.builds(
        lambda kind, more: {"kind": kind, **more},
        st.sampled_from(["linear", "sigmoid", "cosine", "custom", "x", None]),
        st.dictionaries(
            st.sampled_from(["beta_start", "beta_end", "timesteps", "start", "end", "reading", "offset", "betas", "x"]),
            NUMBERS | st.lists(NUMBERS, max_size=3),
            max_size=4,
        ),
    ),
    st.sampled_from([linear().config, sigmoid().config]).flatmap(
        lambda config: st.dictionaries(st.sampled_from([*config]), NUMBERS, max_size=2).map(lambda more: config | more)
    ),
)


@UNHURRIED
@given(SCHEDULES)
def test_any_configuration_of_a_schedule_is_taken_or_refused(config):
    try:
        schedule = from_config(config)
    except ScheduleError:
        return
    assert schedule.betas.isfinite().all()


MODEL = DiffusionGenerator(schedule=linear(timesteps=5), width=4, depth=1, input_frequencies=2).config


SIZES = st.integers(-3, 50) | st.floats() | st.sampled_from([None, True, "5", []])


@UNHURRIED
@given(
    JSON
    | st.dictionaries(
        st.sampled_from([*MODEL, "x"]),
        st.integers(-3, 50) | st.floats() | st.sampled_from([None, True, "5", []]),
        max_size=3,
    ).map(lambda more: MODEL | more)
)
def test_any_configuration_of_a_model_is_taken_or_refused(config):
    try:
        model = DiffusionGenerator.from_config(config)
    except ValueError:
        return
    assert model(torch.zeros(3, 2), torch.zeros(3, dtype=torch.int64)).shape == (3, 2)
