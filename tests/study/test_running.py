"""The engine: whatever stops or breaks, finished runs stand in the file, once, and nothing else does."""

import logging
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from functools import partial
from pathlib import Path

import cloudpickle
import numpy as np
import pandas as pd
import psutil
import pytest
from clusters import threads

from lab_utils import THREADS
from lab_utils.runs import engine
from lab_utils.runs.engine import as_finished, connect
from lab_utils.study import running, sweeps
from lab_utils.study.running import RunsFailedError, run_table
from lab_utils.study.table import FACTS, TableError, read_table, run_key

cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers get the functions without importing the tests

TABLE = [
    {"schedule": schedule, "steps": steps, "rate": rate, "exact": exact}
    for schedule in ("sigmoid", "linear")
    for steps in (100, 20, 3)
    for rate, exact in ((0.1, True), (1e-3, None))
]


def results(configuration):
    """Two rows for each configuration, with numbers that need all their digits."""
    steps, rate = configuration["steps"], configuration["rate"]
    return [{"epoch": epoch, "loss": rate * epoch / 3, "far": np.float64(steps**0.5)} for epoch in (1, 2)]


def noted(log, configuration):
    """One row, and a line in the log for each start: the number and the process. `wait` is how long it takes."""
    with Path(log).open("a") as file:
        file.write(f"{configuration['number']} {os.getpid()}\n")
    time.sleep(configuration.get("wait") or 0)
    return [{"square": configuration["number"] ** 2}]


def starts(log):
    """How often each number was started, and by which processes."""
    lines = [tuple(map(int, line.split())) for line in log.read_text().splitlines()] if log.exists() else []
    return Counter(number for number, _ in lines), dict(lines)


def numbers(path):
    return read_table(path)["number"].tolist() if path.exists() else []


def until(condition, process=None, seconds=300):  # a busy machine is slow, not wrong
    deadline = time.monotonic() + seconds
    while not condition():
        assert process is None or process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline, "waited for nothing"
        time.sleep(0.02)


def without_seconds(path):
    return pd.read_csv(path, dtype=str).drop(columns="seconds").to_csv()


@pytest.fixture
def path(tmp_path, monkeypatch):
    monkeypatch.setenv("DDPM_LAB_CACHE", str(tmp_path / "cache"))  # the locks stand there
    return tmp_path / "folder" / "results.csv"


@pytest.fixture(scope="module")
def address():
    """A scheduler with two workers, which somebody else started."""
    with threads(2) as cluster:
        yield cluster.scheduler_address


# --- results


@pytest.fixture(scope="module")
def direct():
    """What stands in the file, by calling the function directly."""
    return {run_key(row): results(row) for row in TABLE}


@pytest.mark.parametrize("workers", [1, 3])
def test_results_are_those_of_the_function_itself(path, workers, direct):
    table = run_table(results, TABLE, path, workers=workers)
    assert list(table.columns) == ["run", *TABLE[0], *FACTS, "epoch", "loss", "far"]
    assert table["run"].nunique() == len(TABLE)
    for key, rows in table.groupby("run"):
        assert rows[["epoch", "loss", "far"]].to_dict("records") == direct[key]
    order = sorted(TABLE, key=lambda row: (row["schedule"], row["steps"], row["rate"]))
    assert table["run"].tolist() == [run_key(row) for row in order for _ in (1, 2)]
    pd.testing.assert_frame_equal(table, read_table(path))
    assert (table["seconds"] >= 0).all()
    assert set(table["python"]) == {".".join(map(str, sys.version_info[:3]))}
    assert [path.name for path in path.parent.iterdir()] == ["results.csv"], "no lock and no part stays"


def test_order_does_not_tell_who_finished_first(path, address, tmp_path):
    table = [{"number": number, "wait": wait} for number, wait in ((10, 0.3), (9, 0.0), (2, 0.1))]
    run_table(partial(noted, tmp_path / "log"), table, path, scheduler=address)
    other = path.with_name("other.csv")
    for row in table[::-1]:
        run_table(partial(noted, tmp_path / "log"), [row], other, scheduler=address)
    assert numbers(path) == [2, 9, 10]
    assert without_seconds(path) == without_seconds(other)


def surroundings(configuration):
    me = psutil.Process()
    listening = [c.laddr.ip for p in (me, me.parent()) for c in p.net_connections("inet") if c.status == "LISTEN"]
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
    level = logging.getLogger("distributed").getEffectiveLevel()
    threads = [os.environ[name] for name in names if name in os.environ]
    return [{"listening": " ".join(sorted(set(listening))), "threads": " ".join(sorted(set(threads))), "log": level}]


def test_workers_listen_to_nobody_else_and_take_the_threads_of_the_lab(path):
    (row,) = run_table(surroundings, [{"a": 1}], path, workers=1).to_dict("records")
    assert row["listening"] == "127.0.0.1"
    assert row["threads"] == THREADS
    assert row["log"] == logging.CRITICAL


# --- what is there is not run again


def test_only_what_is_missing_runs(path, address, tmp_path, capsys):
    log = tmp_path / "log"
    run = partial(run_table, partial(noted, log), path=path, scheduler=address)
    run([{"number": 1}, {"number": 2}, {"number": 1.0}])
    assert starts(log)[0] == {1: 1, 2: 1}
    assert "already" not in capsys.readouterr().out
    table = run([{"number": 2}, {"number": np.int64(3)}])
    assert starts(log)[0] == {1: 1, 2: 1, 3: 1}
    assert table["number"].tolist() == [2, 3], "the rows that were asked for"
    assert numbers(path) == [1, 2, 3]
    said = capsys.readouterr()
    assert f"1 of 2 runs are in {path} already" in said.out
    assert "2/2" in said.err
    assert "number=3" not in said.err.split("2/2")[0]
    before = path.read_bytes()
    assert len(run([{"number": 1}], progress=False)) == 1
    assert (path.read_bytes(), capsys.readouterr()) == (before, ("", ""))


def test_the_bar_names_what_finished_last(path, address, capsys):
    run_table(results, TABLE[:4], path, scheduler=address)
    said = capsys.readouterr().err
    assert re.search(r"4/4 \[.*, steps=20, rate=0.\d+, exact=", said)
    assert "schedule=" not in said, "it is the same in all of them"


def test_new_columns_join(path, address, tmp_path):
    log = tmp_path / "log"
    run_table(partial(noted, log), [{"number": 1}], path, scheduler=address)
    table = [{"number": 1, "wait": None}, {"number": 1, "wait": 0.0}]
    assert len(run_table(partial(noted, log), table, path, scheduler=address)) == 2
    assert starts(log)[0] == {1: 2}

    def more(configuration):
        return [{"cube": 8, "square": 4}]

    rows = run_table(more, [*table, {"number": 2, "wait": float("nan")}], path, scheduler=address)
    assert list(rows.columns) == ["run", "number", "wait", *FACTS, "square", "cube"]
    assert rows["wait"].isna().tolist() == [False, True, True]
    assert rows["cube"].isna().tolist() == [True, True, False]
    assert rows["square"].tolist() == [1, 1, 4]


def test_other_columns_are_refused(path, address):
    run_table(results, TABLE[:1], path, scheduler=address)
    before = path.read_bytes()
    less = {name: value for name, value in TABLE[1].items() if name != "rate"}
    with pytest.raises(TableError, match=r"results.csv has the column 'rate', which .* lack .*schedule, steps, exact"):
        run_table(results, [less], path)
    with pytest.raises(TableError, match="has 'loss' as a result"):
        run_table(results, [TABLE[1] | {"loss": 1}], path)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("run", 1, "'run' can't be a column"),
        ("seconds", 1, "'seconds' can't be a column"),
        ("", 1, "'' can't be a column"),
        (3, 1, "3 can't be a column"),
        ("a", [1], "'a' must be a number, .*, not \\[1\\]"),
        ("a", 1j, "'a' must be"),
        ("a", "two\nlines", "'a' must be"),
    ],
)
def test_what_is_no_configuration_is_refused(path, name, value, said):
    with pytest.raises(TableError, match=said):
        run_table(results, [{name: value}], path)
    assert not path.exists()


@pytest.mark.parametrize("workers", [0, -1, 1.5, True, "2"])
def test_without_workers_nobody_waits(path, workers):
    """Dask makes a cluster of none, in which a run would wait for ever."""
    with pytest.raises(ValueError, match=re.escape(f"workers must be a whole number of 1 or more, not {workers!r}")):
        run_table(results, TABLE, path, workers=workers)
    assert not path.exists()


def test_a_place_that_cannot_be_written_is_told_before_anything_runs(tmp_path, monkeypatch):
    monkeypatch.setattr(running, "connect", lambda *_: pytest.fail("started workers"))
    (tmp_path / "file").write_text("mine")
    path = tmp_path / "file" / "results.csv"
    with pytest.raises(
        TableError, match=f"Not a directory: .*file'; {path} was not written.*its folder can be written"
    ):
        run_table(results, TABLE, path)


def test_nothing_to_run_is_refused(path):
    with pytest.raises(TableError, match="no configurations"):
        run_table(results, [], path)


def test_text_stays_text(path, address):
    def texts(configuration):
        return [{"name": "None, really", "number": float("nan"), "quote": 'a "b"'}]

    table = [{"a": "NA", "b": 'x, "y"'}, {"a": "nan", "b": "z"}, {"a": "12", "b": ""}]
    rows = run_table(texts, table, path, scheduler=address)
    assert rows["a"].tolist() == ["12", "NA", "nan"]
    assert rows["b"].isna().tolist() == [True, False, False]
    assert rows["b"][1] == 'x, "y"'
    assert rows[["name", "quote"]].drop_duplicates().to_numpy().tolist() == [["None, really", 'a "b"']]
    assert rows["number"].isna().all()


def test_no_more_calls_are_taken_than_there_are_threads(address):
    """So memory is bounded, however many calls there are."""
    taken = []

    def calls():
        for number in range(9):
            taken.append(number)
            yield number, partial(pow, number, 2)

    with connect(address) as client:
        for finished, (number, future) in enumerate(as_finished(client, calls())):
            assert future.result() == number**2
            assert len(taken) <= finished + 2
    assert taken == [*range(9)]


# --- what breaks


def picky(log, configuration):
    if configuration["number"] == 2:
        raise ValueError("I don't like 2")
    return noted(log, configuration)


def test_a_run_that_fails_spoils_no_other(path, address, tmp_path, capsys):
    table, log = [{"number": number} for number in (1, 2, 3)], tmp_path / "log"
    with pytest.raises(
        RunsFailedError, match=r"2 of 3 runs are in .* Failed: number=2: ValueError: I don't like"
    ) as end:
        run_table(partial(picky, log), table, path, scheduler=address)
    assert isinstance(end.value.__cause__, ValueError)
    assert "FAILED: number=2: ValueError: I don't like 2\n" in capsys.readouterr().out
    assert numbers(path) == [1, 3]
    run_table(partial(noted, log), table, path, scheduler=address)
    assert starts(log)[0] == {1: 1, 2: 1, 3: 1}


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([], "gave no rows"),
        ([{"a": 1, "seconds": 2, "x": 3}], "names that are taken: a, seconds"),
        ([{"x": [1, 2]}], "'x' must be a number"),
    ],
)
def test_what_is_no_result_fails(path, address, rows, said):
    with pytest.raises(RunsFailedError, match=said):
        run_table(lambda configuration: rows, [{"a": 1}], path, scheduler=address)
    assert not path.exists()


def once_forever(log, configuration):
    """The first start of number 0 takes a minute."""
    first = configuration["number"] == 0 and starts(log)[0][0] == 0
    return noted(log, configuration | {"wait": 60 if first else 0.2})


def test_a_killed_worker_loses_only_its_current_run(path, tmp_path):
    log = tmp_path / "log"

    def kill():
        until(lambda: len(numbers(path)) >= 2 and 0 in starts(log)[0])
        os.kill(starts(log)[1][0], signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    table = run_table(partial(once_forever, log), [{"number": number} for number in range(8)], path, workers=2)
    killer.join()
    assert table["square"].tolist() == [number**2 for number in range(8)]
    assert starts(log)[0] == {number: 1 + (number == 0) for number in range(8)}


def deadly(log, configuration):
    rows = noted(log, configuration)
    if configuration["number"] == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return rows


def test_a_run_that_kills_every_worker_fails_alone(path, tmp_path):
    log = tmp_path / "log"
    with pytest.raises(RunsFailedError, match=r"3 of 4 .* number=0: every worker that ran it was killed$"):
        run_table(partial(deadly, log), [{"number": number} for number in range(4)], path, workers=1)
    assert numbers(path) == [1, 2, 3]
    assert starts(log)[0] == {0: 4, 1: 1, 2: 1, 3: 1}


SCRIPT = """
import sys, time
from pathlib import Path
from lab_utils.study.running import run_table

def run(configuration):
    number = configuration["number"]
    with open({log!r}, "a") as file:
        file.write(f"{{number}} {{__import__('os').getpid()}}\\n")
    while number >= 3 and not Path({gate!r}).exists():
        time.sleep(0.02)
    return [{{"square": number**2}}]

if __name__ == "__main__":
    try:
        run_table(run, [{{"number": number}} for number in range(*map(int, sys.argv[1:]))], {path!r}, workers=2)
    except KeyboardInterrupt:
        sys.exit(130)
"""


@pytest.fixture
def script(path, tmp_path):
    """Starts a process that squares the numbers of a range; from 3 on, each waits for the gate."""
    file, log, gate = (tmp_path / name for name in ("script.py", "log", "gate"))
    file.write_text(SCRIPT.format(log=str(log), gate=str(gate), path=str(path)))
    processes = []

    def start(*arguments):
        process = subprocess.Popen(
            [sys.executable, file, *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,  # a terminal sends Ctrl-C to all processes of the group, so to the workers too
        )
        processes.append(process)
        return process

    yield start, log, gate
    for process in processes:
        process.kill()
        process.communicate()


def test_an_interrupted_table_goes_on(path, script):
    start, log, gate = script
    process = start(0, 6)
    until(lambda: numbers(path) == [0, 1, 2] and len(starts(log)[0]) == 5, process)
    os.killpg(process.pid, signal.SIGINT)
    said, _ = process.communicate(timeout=300)
    assert process.returncode == 130, said
    assert f"Interrupted: 3 of 6 runs are in {path}, and the same call goes on with the rest\n" in said
    assert "Traceback" not in said
    assert numbers(path) == [0, 1, 2]
    assert not any(map(psutil.pid_exists, starts(log)[1].values())), "no worker stays"

    gate.touch()
    said, _ = start(0, 6).communicate(timeout=300)
    assert f"3 of 6 runs are in {path} already" in said
    assert read_table(path)["square"].tolist() == [0, 1, 4, 9, 16, 25]
    assert starts(log)[0] == {0: 1, 1: 1, 2: 1, 3: 2, 4: 2, 5: 1}


def test_two_processes_write_one_file(path, script):
    start, _, gate = script
    processes = [start(0, 16), start(8, 24)]
    until(lambda: len(starts(script[1])[0]) >= 7)
    gate.touch()
    for process in processes:
        said, _ = process.communicate(timeout=300)
        assert process.returncode == 0, said
    assert numbers(path) == [*range(24)]


def test_a_scheduler_that_goes_away_is_an_error(path, tmp_path):
    log = tmp_path / "log"
    cluster = threads(1)

    def end():
        until(lambda: starts(log)[0][1])
        cluster.close()

    ender = threading.Thread(target=end)
    ender.start()
    table = [{"number": 0}, {"number": 1, "wait": 3.0}, {"number": 2}]
    with pytest.raises(ConnectionError, match="no connection to the cluster; 1 of 3 runs are in"):
        run_table(partial(noted, log), table, path, scheduler=cluster.scheduler_address)
    ender.join()
    assert numbers(path) == [0]


def test_where_no_worker_comes_nobody_waits_for_ever(path, tmp_path, monkeypatch):
    """Nor where Dask has given up the last one that there was."""
    monkeypatch.setattr(engine, "PATIENCE", 2)
    cluster = threads(1)
    cluster.scale(0)
    table = [{"number": number} for number in range(3)]
    with cluster, pytest.raises(ConnectionError, match=r"0 of 3 runs are in .* \(there was no worker for 2 s\)"):
        run_table(partial(noted, tmp_path / "log"), table, path, scheduler=cluster.scheduler_address)
    assert not path.exists()


def test_runs_of_another_version_are_made_again_where_that_is_asked_for(path, address, monkeypatch):
    rows = run_table(results, TABLE[:2], path, scheduler=address, progress=False)
    text = path.read_text(encoding="utf-8")
    other = text.replace(rows["lab"][0], "0.1.0+another", len(rows) // 2)
    path.write_text(other, encoding="utf-8")
    run_table(results, TABLE[:2], path, scheduler=address, progress=False)
    assert path.read_text(encoding="utf-8") == other
    again = run_table(results, TABLE[:2], path, scheduler=address, progress=False, renew=True)
    assert {*again["lab"]} == {*rows["lab"]}
    pd.testing.assert_frame_equal(again.drop(columns="seconds"), rows.drop(columns="seconds"))


def test_a_row_says_which_code_made_it(path, address, monkeypatch):
    """Its own module and the rooms that decide are in it, as far as it imports them; other rooms are not."""
    (row,) = run_table(results, [TABLE[0]], path, scheduler=address, progress=False)["lab"].unique()
    assert row == running.code_version(results)
    asked = []
    monkeypatch.setattr(running, "code_checksum", lambda *modules: asked.append(modules) or "0" * 64)
    assert running.code_version(sweeps.run) != row
    (modules,) = asked
    decide = {"diffusion.training", "diffusion.samplers", "measure.mass", "points.shapes", "exact.mixtures"}
    assert {f"lab_utils.{name}" for name in (*decide, "study.sweeps")} <= {*modules}
    assert not {"lab_utils.measure.telling", "lab_utils.base.files", "lab_utils.runs.jobs"} & {*modules}
