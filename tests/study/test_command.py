"""`make study` completes its tables, hands on what it was told, and says what went wrong."""

import pandas as pd
import pytest

from lab_utils.base.files import DATA
from lab_utils.study import __main__ as command
from lab_utils.study import guidance_study, sampler_study, spread, sweeps, target_study
from lab_utils.study.__main__ import main
from lab_utils.study.running import RunsFailedError, code_version
from lab_utils.study.table import TableError


@pytest.fixture
def calls(monkeypatch):
    made = []

    def run_table(function, configurations, path, **named):
        made.append((function, [*configurations], path, named))
        return pd.DataFrame({"run": ["a", "a", "b"], "lab": [code_version(function), code_version(function), "0.1.0"]})

    monkeypatch.setattr(command, "run_table", run_table)
    return made


def test_all_tables_are_completed_unless_one_is_chosen_and_old_runs_are_counted(calls, capsys):
    assert main([]) == 0
    assert [(function, path) for function, _, path, _ in calls] == [
        (sweeps.run, DATA / "study.csv"),
        (sampler_study.run, DATA / "samplers.csv"),
        (spread.run, DATA / "spread.csv"),
        (target_study.run, DATA / "targets.csv"),
        (guidance_study.run, DATA / "guidance.csv"),
    ]
    assert main(["--only", "samplers"]) == 0
    assert calls[5][0] is sampler_study.run
    assert {c["data"] for c in calls[5][1]} == {*sampler_study.DATASETS}
    told = capsys.readouterr().out
    assert f"1 of 2 runs in {DATA / 'samplers.csv'} are of another version of the code, 0.1.0" in told
    assert "--renew" in told
    assert len(calls) == 6


def test_the_options_are_handed_on(calls, tmp_path):
    options = ["--sweeps", "depth", "--data", "moons", "--seeds", "2", "--workers", "3", "--out", str(tmp_path)]
    assert main([*options, "--renew", "--scheduler", "tcp://10.0.0.1:8786"]) == 0
    named = {"scheduler": "tcp://10.0.0.1:8786", "workers": 3, "renew": True}
    assert calls == [
        (sweeps.run, [*sweeps.grid(["depth"], ["moons"], 2)], tmp_path / "study.csv", named),
        (sampler_study.run, [*sampler_study.grid(["moons"], 2)], tmp_path / "samplers.csv", named),
        (spread.run, [*spread.grid(["moons"], 2)], tmp_path / "spread.csv", named),
        (target_study.run, [*target_study.grid(["moons"], 2)], tmp_path / "targets.csv", named),
        (guidance_study.run, [*guidance_study.grid(["moons"], 2)], tmp_path / "guidance.csv", named),
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


def test_what_fails_in_one_table_keeps_no_other_from_its_runs(calls, monkeypatch, capsys):
    """A table that can't be completed is said, and is the exit code; a scheduler that isn't there is there for none."""
    complete, errors = command.run_table, {"study": TableError("damaged"), "spread": RunsFailedError("two failed", {})}

    def run_table(function, configurations, path, **named):
        if path.stem in errors:
            raise errors[path.stem]
        return complete(function, configurations, path, **named)

    monkeypatch.setattr(command, "run_table", run_table)
    assert main([]) == 1
    assert [path.stem for _, _, path, _ in calls] == ["samplers", "targets", "guidance"]
    said = capsys.readouterr().err
    assert "damaged" in said
    assert "two failed" in said
    errors["samplers"] = ConnectionError("no scheduler")
    assert main([]) == 1
    assert len(calls) == 3
