"""Somewhere else: no git, no home, a locale of ASCII, names with spaces and Polish letters."""

import subprocess
import sys

import pytest
from point_files import read_points
from test_pages import save

ARGUMENTS = {
    "report": ["lab_utils.report", "--notebooks", "zeszyt ćwiczeń", "--out", "żółw 1"],
    "student": ["lab_utils.exercises.student", "--out", "żółw 2"],
    "generate": [
        *("lab_utils.runs.generate", "--points", "300", "--data", "gęś.csv", "--epochs", "1", "--sampler", "dpm"),
        *("--out", "żółw.npy"),
    ],
}


@pytest.mark.skipif(sys.platform == "win32", reason="locales and homes of this kind are POSIX's")
@pytest.mark.parametrize("name", ARGUMENTS)
def test_a_command_works_with_nothing_but_python(name, tmp_path):
    folder = tmp_path / "łąka i staw"
    (folder / "zeszyt ćwiczeń").mkdir(parents=True)
    save(folder / "zeszyt ćwiczeń" / "01_pytanie.ipynb", "# Pytanie: ᾱ → 0?", "print('β̃ ≤ β')")
    (folder / "gęś.csv").write_text("".join(f"{x},{x * x % 7}\n" for x in range(50)), encoding="utf-8")
    nothing = {"PATH": "/nowhere", "HOME": "/proc/nobody", "LC_ALL": "C", "DDPM_LAB_CACHE": str(folder / "schowek")}
    command = [sys.executable, "-m", *ARGUMENTS[name]]
    done = subprocess.run(command, cwd=folder, env=nothing, capture_output=True, text=True, errors="replace")
    assert done.returncode == 0, done.stderr
    if name == "report":
        page = (folder / "żółw 1" / "01_pytanie.html").read_text(encoding="utf-8")
        assert "β̃ ≤ β" in page
        assert "unknown" in (folder / "żółw 1" / "index.html").read_text(encoding="utf-8")  # the commit
    elif name == "student":
        assert (folder / "żółw 2.zip").stat().st_size > 1_000_000
    else:
        assert read_points(folder / "żółw.npy").shape == (300, 2)
