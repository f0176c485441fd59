"""`make study` completes both tables, hands on what it was told, and says what went wrong."""

import pandas as pd
import pytest

from lab_utils.base.files import DATA
from lab_utils.study import __main__ as command
from lab_utils.study import sampler_study, sweeps
from lab_utils.study.__main__ import main
from lab_utils.study.running import RunsFailedError, code_version
from lab_utils.study.table import TableError


@pytest.fixture
def calls(monkeypatch):
    made = []

    def run_table(function, configurations, path, **named):
        made.append((function, [*configurations], path, named))
        return pd.DataFrame({"lab": [code_version(function), "0.1.0", "0.1.0"]})

    monkeypatch.setattr(command, "run_table", run_table)
    return made


def test_both_tables_are_completed_unless_one_is_chosen_and_old_rows_are_counted(calls, capsys):
    assert main([]) == 0
    assert [(function, path) for function, _, path, _ in calls] == [
        (sweeps.run, DATA / "study.csv"),
        (sampler_study.run, DATA / "samplers.csv"),
    ]
    assert main(["--only", "samplers"]) == 0
    assert calls[2][0] is sampler_study.run
    told = f"2 of 3 rows in {DATA / 'samplers.csv'} were made by another version of the code"
    assert told in capsys.readouterr().out
    assert len(calls) == 3


def test_the_options_are_handed_on(calls, tmp_path):
    options = ["--sweeps", "depth", "--data", "moons", "--seeds", "2", "--workers", "3", "--out", str(tmp_path)]
    assert main([*options, "--scheduler", "tcp://10.0.0.1:8786"]) == 0
    named = {"scheduler": "tcp://10.0.0.1:8786", "workers": 3}
    assert calls == [
        (sweeps.run, [*sweeps.grid(["depth"], ["moons"], 2)], tmp_path / "study.csv", named),
        (sampler_study.run, [*sampler_study.grid(["moons"], 2)], tmp_path / "samplers.csv", named),
    ]


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (TableError("columns"), 1),
        (RunsFailedError("two failed", {}), 1),
        (ConnectionError("no scheduler"), 1),
        (KeyboardInterrupt(), 130),
    ],
)
def test_what_goes_wrong_is_said_and_is_the_exit_code(error, code, monkeypatch, capsys):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(command, "run_table", fail)
    assert main([]) == code
    assert str(error) in capsys.readouterr().err
