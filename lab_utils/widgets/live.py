"""A trained model that samples in the browser, in JupyterLab as in a page of the report: one explorer for both."""

from __future__ import annotations

from importlib.resources import files

_SCRIPTS = files("lab_utils.widgets") / "scripts"
ENGINE = (_SCRIPTS / "engine.js").read_text(encoding="utf-8")
