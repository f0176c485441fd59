"""The command behind `make study`: train, sample and measure what the tables of the study lack.

`python -m lab_utils.study` completes data/study.csv (the trainings, see `sweeps`), then data/samplers.csv (few steps
against many, see `sampler_study`), data/spread.csv (which chance makes how much, see `spread`), data/targets.csv (what
the network predicts, see `target_study`) and data/guidance.csv (what guidance does, see `guidance_study`). Runs that
fail in one table don't keep the next one from its own.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from lab_utils import WORKERS
from lab_utils.base.files import PROJECT
from lab_utils.study import guidance_study, sampler_study, spread, sweeps, target_study
from lab_utils.study.running import RunsFailedError, code_version, run_table
from lab_utils.study.table import TableError

TABLES = {
    "study": sweeps.run,
    "samplers": sampler_study.run,
    "spread": spread.run,
    "targets": target_study.run,
    "guidance": guidance_study.run,
}  # the file's name → what makes a run of it


def parser() -> argparse.ArgumentParser:
    """The options of the command."""
    description = "Train, sample and measure what the tables of the study lack."
    options = argparse.ArgumentParser(prog="python -m lab_utils.study", description=description)
    default = " (default: %(default)s)"
    add = options.add_argument
    add("--only", nargs="+", choices=[*TABLES], default=[*TABLES], metavar="TABLE", help="of %(choices)s" + default)
    add("--sweeps", nargs="+", choices=[*sweeps.SWEEPS], default=[*sweeps.SWEEPS], help="of study; all unless given")
    add("--data", nargs="+", help="names of data sets (default: for each table its own)")
    add("--seeds", type=int, default=sweeps.SEEDS, help="how many" + default)
    add("--renew", action="store_true", help="make those runs again, too, that another version of the code made")
    add("--scheduler", help="address of a Dask scheduler; without one, this machine's cores do the work")
    add("--workers", type=int, default=WORKERS, help="processes on this machine" + default)
    add("--out", type=Path, default=PROJECT / "data", metavar="FOLDER", help="where the CSV files stand" + default)
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    """Complete the tables; 0 if every run is there now, else 1 and a line that says why, or 130."""
    options = parser().parse_args(arguments)
    grids = {
        "study": sweeps.grid(options.sweeps, options.data or sweeps.DATASETS, options.seeds),
        "samplers": sampler_study.grid(options.data or sampler_study.DATASETS, options.seeds),
        "spread": spread.grid(options.data or sweeps.DATASETS, options.seeds),
        "targets": target_study.grid(options.data or target_study.DATASETS, options.seeds),
        "guidance": guidance_study.grid(options.data or guidance_study.DATASETS, options.seeds),
    }
    named = {"scheduler": options.scheduler, "workers": options.workers, "renew": options.renew}
    code = 0
    for name in options.only:
        path = options.out / f"{name}.csv"
        try:
            rows = run_table(TABLES[name], grids[name], path, **named)
        except (TableError, RunsFailedError) as error:
            print(error, file=sys.stderr)
            code = 1
            continue
        except ConnectionError as error:
            print(error, file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            return 130
        others = rows[rows["lab"] != code_version(TABLES[name])].groupby("lab")["run"].nunique()
        for version, count in others.items():
            print(f"{count} of {rows['run'].nunique()} runs in {path} are of another version of the code, {version}")
        if len(others):
            print("`make study ARGS=--renew` makes them again")
    return code


if __name__ == "__main__":
    sys.exit(main())
