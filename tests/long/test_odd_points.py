"""Notebook 7 about points that are hard on a model, whole, as `make report DATA=…` runs it: no cell fails."""

import numpy as np
import pytest
from odd_points import KINDS

from lab_utils.base.files import DATA_OPTIONS_VARIABLE, DATA_VARIABLE, PROJECT
from lab_utils.report.beside import run_notebooks

NAME = "07_your_own_points.ipynb"


@pytest.mark.parametrize(("points", "warning"), KINDS.values(), ids=KINDS)
def test_the_whole_notebook_runs_and_warns_beside_the_numbers(tmp_path, monkeypatch, points, warning):
    np.savetxt(tmp_path / "mine.csv", points, delimiter=",", header="east,north", comments="")
    (tmp_path / NAME).write_bytes((PROJECT / "notebooks" / NAME).read_bytes())
    monkeypatch.setenv(DATA_VARIABLE, str(tmp_path / "mine.csv"))
    monkeypatch.delenv(DATA_OPTIONS_VARIABLE, raising=False)
    monkeypatch.setenv("DDPM_LAB_CACHE", str(tmp_path / "cache"))
    (run,) = run_notebooks([tmp_path / NAME], timeout=900, threads=1)
    assert not run.error
    cells = {cell.id: cell for cell in run.notebook.cells}
    for said in (cells["own-13"], cells["own-table"], cells["own-38"]):
        assert any(warning in text for output in said.outputs for text in output.get("data", {}).values())
    assert (tmp_path / "my_points.gif").stat().st_size > 10_000
