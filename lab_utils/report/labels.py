"""What the notebooks showed under a label, by which the report finds it; `lab_utils.figures.display` puts it on."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nbformat import NotebookNode

from lab_utils import METADATA_KEY

if TYPE_CHECKING:
    from lab_utils.report.pages import Run

KINDS = ("figure", "animation", "table", "claims", "finding")


@dataclass
class Labelled:
    """A figure, an animation, a table, claims or a finding that a notebook has shown, and its place in the report."""

    kind: str
    name: str
    caption: str
    alt: str
    page: str
    anchor: str
    output: NotebookNode

    @property
    def number(self) -> int:
        """4 for "Figure 4" or "Finding 4"; 0 for any other name."""
        numbered = re.fullmatch(r"(Figure|Finding) (\d+)", self.name)
        return int(numbered[2]) if numbered else 0

    @property
    def label(self) -> dict[str, Any]:
        """The label itself, with what is said of this kind only."""
        return dict(self.output.metadata[METADATA_KEY])


def _slug(name: str) -> str:
    """`name` for an address or a file: "Figure 4" becomes "figure-04", so that files sort as figures do."""
    plain = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    return re.sub(r"\d+", lambda number: number[0].zfill(2), plain) or "unnamed"


def labelled(runs: Sequence[Run]) -> list[Labelled]:
    """Everything with a label, in the order of the notebooks; each gets an anchor of its own, kept in its label."""
    found: list[Labelled] = []
    uses: Counter[str] = Counter()
    for run in runs:
        for output in (output for cell in run.notebook.cells for output in cell.get("outputs", [])):
            label = output.get("metadata", {}).get(METADATA_KEY, {})
            if label.get("kind") in KINDS:
                slug = _slug(label.name)
                uses[slug] += 1
                label.anchor = slug if uses[slug] == 1 else f"{slug}.{uses[slug]}"  # no slug has a dot in it
                texts = label.name, label.caption, label.get("alt", "")
                found.append(Labelled(label.kind, *texts, run.page, label.anchor, output))
    return found
