"""The command `python -m lab_utils.measure`, as somebody uses it who has a file of points."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from lab_utils.measure import __main__ as command
from lab_utils.measure import standings
from lab_utils.measure.compare import compare
from lab_utils.points.dataset import dataset

QUICK = ["--measures", "blur,strays"]


@pytest.fixture
def files(tmp_path, monkeypatch):
    """A folder with generated and real points, as another library writes them."""
    monkeypatch.chdir(tmp_path)
    draw = np.random.default_rng(0)
    frame = pd.DataFrame({"id": range(120), "lon": draw.normal(size=120), "lat": draw.normal(size=120)})
    frame.to_csv("mine.csv", index=False)
    frame.to_parquet("mine.parquet")
    np.save("mine.npy", frame[["lon", "lat"]].to_numpy())
    pd.DataFrame({"u": draw.normal(size=600), "v": draw.normal(size=600)}).to_csv("real.csv", index=False)
    return tmp_path


def said(capsys, *arguments, code=0):
    """What the command prints on both streams."""
    capsys.readouterr()
    assert command.main([*arguments]) == code
    return capsys.readouterr()


def test_it_prints_what_compare_says(files, capsys):
    real = pd.read_csv("real.csv").to_numpy()
    for name in ("mine.csv", "mine.parquet", "mine.npy"):
        found = compare(np.load("mine.npy"), real, names=["blur", "strays"], seed=3)
        columns = [] if name == "mine.npy" else ["--columns", "lon,lat", "--real-columns", "u,v"]
        assert said(capsys, name, "--real", "real.csv", *columns, *QUICK, "--seed", "3").out == f"{found}\n"


def test_columns_are_those_of_the_real_points_too_unless_these_have_their_own(files, capsys):
    pd.read_csv("real.csv").assign(w=1).rename(columns={"u": "lat", "v": "lon"}).to_csv("both.csv", index=False)
    real = pd.read_csv("both.csv")
    for columns, own in ((["lon", "lat"], []), (["lon", "lat"], ["lat", "w"])):
        arguments = ["--columns", ",".join(columns), *(["--real-columns", ",".join(own)] if own else [])]
        found = compare(np.load("mine.npy"), real[own or columns].to_numpy(), names=["blur"])
        assert said(capsys, "mine.csv", "--real", "both.csv", *arguments, "--measures", "blur").out == f"{found}\n"


def test_training_points_are_for_copies(files, capsys):
    found = said(capsys, "mine.npy", "--real", "real.csv", "--train", "mine.npy", "--measures", "copies").out
    assert found.splitlines()[1].split()[:3] == ["copies", "100", "%"]


def test_json_goes_to_a_file_or_alone_to_the_standard_output(files, capsys):
    arguments = ["mine.npy", "--real", "real.csv", *QUICK]
    both = said(capsys, *arguments, "--json", "found.json").out
    assert both == said(capsys, *arguments).out
    alone = json.loads(said(capsys, *arguments, "--json", "-").out)
    assert alone == json.loads((files / "found.json").read_text())
    assert alone["given"] == {"generated": 120, "real": 600}


def test_a_page_is_written_whole(files, capsys):
    assert "strays" in said(capsys, "mine.npy", "--real", "real.csv", *QUICK, "--out", "page.html").out
    page = (files / "page.html").read_text(encoding="utf-8")
    assert page.startswith("<!DOCTYPE html>")
    assert page.rstrip().endswith("</html>")
    assert "mine.npy beside real.csv" in page


def test_rows_without_a_value_are_left_out_if_one_says_so(files, capsys):
    text = (files / "real.csv").read_text()
    (files / "gaps.csv").write_text(text + "1.5,\n")
    assert "--missing drop" in said(capsys, "mine.npy", "--real", "gaps.csv", *QUICK, code=2).err
    dropped = said(capsys, "mine.npy", "--real", "gaps.csv", *QUICK, "--missing", "drop")
    assert "1 of 601 rows lack a value" in dropped.err
    assert dropped.out == said(capsys, "mine.npy", "--real", "real.csv", *QUICK).out


def test_the_labs_own_data_stand_for_real_and_training_points(files, capsys):
    data = dataset("moons")
    np.save("normalised.npy", data.train[:200].numpy())
    np.save("own.npy", data.units.restore(data.train[:200]).numpy())
    arguments = ["--data", "moons", "--measures", "copies,strays"]
    own = said(capsys, "own.npy", *arguments).out
    assert own.splitlines()[1].split()[:3] == ["copies", "100", "%"]
    normalised = said(capsys, "normalised.npy", *arguments, "--units", "normalised").out
    assert normalised.splitlines()[:3] == own.splitlines()[:3]


def test_the_standing_among_other_samples_is_shown_with_its_reservation(files, capsys, monkeypatch):
    rows = pd.DataFrame(
        {"data": "moons", "name": ["kernels", "the original"], "blur": [1.2, 4.0], "strays": [2.0, 9.0]}
    )
    rows = rows.reindex(columns=["data", "name", "run", *standings.MEASURES])
    rows.to_csv("standings.csv", index=False)
    path = files / "standings.csv"
    monkeypatch.setattr(command, "known", lambda: standings.known(path))
    monkeypatch.setattr(command, "place", lambda *arguments: standings.place(*arguments, path=path))
    monkeypatch.setattr(command, "sentences", lambda *one, **more: standings.sentences(*one, **more, path=path))
    data = dataset("moons")
    np.save("own.npy", data.units.restore(data.train[:200]).numpy())
    found = said(capsys, "own.npy", "--data", "moons", *QUICK, "--out", "page.html").out
    assert "Samples that the lab has measured on moons, × real, the best first; yours is among them." in found
    assert "yours have 200" in found
    assert {"kernels", "original", "yours"} <= {*found.split()}
    assert "blur: " in found
    page = (files / "page.html").read_text(encoding="utf-8")
    assert "Among other samples" in page
    assert "<th>yours</th>" in page
    assert "Among other" not in said(capsys, "own.npy", "--data", "spiral", *QUICK).out  # nothing was measured on that
    alone = said(capsys, "own.npy", "--data", "moons", "--measures", "W2").out
    assert "W2" in alone
    assert "Samples that the lab" not in alone, "which has no standings by that measure"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere.csv", "--real", "real.csv"], "can't read 'nowhere.csv'"),
        (["mine.csv", "--real", "real.csv", "--columns", "a,b"], "mine.csv has no column 'a'"),
        (["few.csv", "--real", "real.csv"], "generated points: 2 given; comparing takes 24 or more"),
        (["mine.npy", "--real", "same.csv"], "all 30 points are the same"),
        (["mine.npy", "--real", "real.csv", "--measures", "cheese"], "no distance 'cheese'; choose one of"),
        (["mine.npy", "--real", "real.csv", "--measures", "copies"], "--train"),
        (["wide.csv", "--real", "real.csv"], "Choose: --columns X,Y; those of the real points: --real-columns X,Y"),
        (["text.csv", "--real", "real.csv"], "text.csv"),
    ],
)
def test_points_that_cannot_be_used_are_told_in_a_line(files, capsys, arguments, message):
    (files / "few.csv").write_text("x,y\n1,2\n3,4\n")
    (files / "wide.csv").write_text("a,b,c\n1,2,3\n3,4,5\n")
    (files / "same.csv").write_text("x,y\n" + "1,2\n" * 30)
    (files / "text.csv").write_text("x,y\nhello,world\n")
    error = said(capsys, *arguments, code=2).err
    assert message in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "the following arguments are required: FILE"),
        (["mine.npy"], "one of the arguments --real --data is required"),
        (["mine.npy", "--real", "real.csv", "--data", "moons"], "not allowed with argument --real"),
        (["mine.npy", "--data", "cheese"], "invalid choice: 'cheese'"),
        (["mine.npy", "--data", "moons", "--train", "real.csv"], "--data brings its own real and training points"),
        (["mine.npy", "--real", "real.csv", "--units", "normalised"], "--units is about the lab's own data"),
    ],
)
def test_options_that_do_not_fit_are_told_with_the_usage(files, capsys, arguments, message):
    with pytest.raises(SystemExit) as end:
        command.main(arguments)
    assert end.value.code == 2
    assert message in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize("option", ["--out", "--json"])
def test_a_disk_that_cannot_be_written_is_told_in_a_line(files, capsys, option):
    (files / "file").write_text("")
    error = said(capsys, "mine.npy", "--real", "real.csv", *QUICK, option, "file/page", code=1).err
    assert "file" in error
    assert error.count("\n") == 1


def test_an_interruption_ends_it_without_a_traceback(files, capsys, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "compare", interrupted)
    assert said(capsys, "mine.npy", "--real", "real.csv", code=130).err == ""


def test_a_stranger_runs_it_on_a_sample_of_another_library(files):
    """Two moons of scikit-learn, and a Gaussian that was fitted to them, which no one would take for moons."""
    from sklearn.datasets import make_moons
    from sklearn.mixture import GaussianMixture

    real, _ = make_moons(1500, noise=0.08, random_state=0)
    fitted = GaussianMixture(1, random_state=0).fit(real)
    pd.DataFrame(fitted.sample(300)[0]).to_csv("sample.csv", index=False)
    pd.DataFrame(real).to_csv("moons.csv", index=False)
    words = [sys.executable, "-m", "lab_utils.measure", "sample.csv", "--real", "moons.csv", "--json", "found.json"]
    environment = {**os.environ, "DDPM_LAB_CACHE": str(files / "cache")}
    done = subprocess.run(words, capture_output=True, text=True, env=environment)
    assert (done.returncode, done.stderr) == (0, "")
    assert "Worst: " in done.stdout
    assert {"blur", "precision", "coverage", "classifier"} <= {*json.loads((files / "found.json").read_text())["worse"]}


def test_a_large_file_takes_bounded_memory(files):
    """Many points are measured by a part of them: the memory above what a few take grows by some copies of the file."""
    for name, n in (("small", 2000), ("large", 200_000)):
        points = torch.randn(n, 2, generator=torch.Generator().manual_seed(n), dtype=torch.float64)
        np.save(f"{name}.npy", points.numpy())
    code = (
        "import resource, sys; from lab_utils.measure.__main__ import main;"
        "main([sys.argv[1], '--real', sys.argv[1], '--measures', 'blur', '--json', 'x.json']);"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    )
    peak = {}
    for name in ("small", "large"):
        done = subprocess.run([sys.executable, "-c", code, f"{name}.npy"], capture_output=True, text=True, check=True)
        peak[name] = int(done.stdout.split()[-1]) / 1024  # MiB
    assert peak["large"] - peak["small"] < 25 * (200_000 * 16 / 2**20)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--out", "mine.csv"], "mine.csv is a file of points that is read; write to another one"),
        (["--json", "./real.csv"], "real.csv is a file of points that is read; write to another one"),
        (["--out", "x.html", "--json", "x.html"], "--out and --json both name x.html; name two files"),
        (["--out", "."], ". is a folder, and stays what it is; name a file, or a new one"),
        (["--measures", ""], "--measures names none; leave it out for all of them"),
    ],
)
def test_nothing_is_written_over_points_that_are_read(files, capsys, arguments, reason):
    before = {path.name: path.read_bytes() for path in files.iterdir()}
    with pytest.raises(SystemExit) as stopped:
        command.main(["mine.csv", "--columns", "lon,lat", "--real", "real.csv", "--real-columns", "u,v", *arguments])
    assert stopped.value.code == 2
    assert reason in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in files.iterdir()} == before


@pytest.mark.skipif(os.name != "posix", reason="pipes of this kind are POSIX's")
@pytest.mark.parametrize("option", ["--out", "--json"])
def test_a_pipe_is_not_replaced_by_a_file(files, capsys, option):
    os.mkfifo("pipe")
    with pytest.raises(SystemExit) as stopped:
        command.main(["mine.csv", "--real", "real.csv", option, "pipe"])
    assert stopped.value.code == 2
    assert "pipe is a pipe, and stays what it is; name a file, or a new one" in capsys.readouterr().err
    assert Path("pipe").is_fifo()


@pytest.mark.parametrize("option", ["--out", "--json"])
def test_a_place_that_cannot_be_written_is_told_before_anything_is_measured(files, capsys, monkeypatch, option):
    """Not after the minutes that large sets take."""
    monkeypatch.setattr(command, "compare", lambda *_, **__: pytest.fail("measured"))
    arguments = ["mine.csv", "--columns", "lon,lat", "--real", "real.csv", "--real-columns", "u,v"]
    assert command.main([*arguments, option, "mine.csv/found"]) == 1
    said = capsys.readouterr().err
    assert "Not a directory: 'mine.csv'; mine.csv/found was not written" in said
    assert said.count("\n") == 1


def test_copies_of_training_points_are_said(files, capsys):
    command.main(["real.csv", "--real", "mine.npy", "--columns", "0,1", "--train", "real.csv", *QUICK])
    assert "100 % of the generated points are training points exactly." in capsys.readouterr().out
