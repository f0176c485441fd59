"""Markdown as HTML, with formulas as MathML: what a browser shows without a network."""

# mypy: allow-untyped-calls
# (nbconvert has types, but not everywhere)

from __future__ import annotations

import re
from pathlib import Path

from latex2mathml.converter import convert
from markupsafe import Markup
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath
from nbformat import NotebookNode

# What latex2mathml leaves wrong for a browser: first in the TeX (an environment that it doesn't know, letters without
# braces), then in the MathML (a namespace that HTML doesn't need and headings trip over, a relation and functions set
# like variables, accents too high, bars of a norm that stretch one by one, a sign spaced like a difference).
_TEX = [
    (r"\\(begin|end)\{aligned\}", r"\\\1{align*}"),
    (r"\\(mathcal|mathbb|mathbf|mathrm|mathsf) *([A-Za-z0-9])", r"\\\1{\2}"),
]
_FUNCTIONS = "arg|cos|det|exp|inf|lim|ln|log|max|min|sin|softmax|sup|tan|tanh"
_ACCENTS = "&#x000AF;|&#x0007E;|&#x02192;"
_BEFORE_A_SIGN = r"\(|\[|&#x00028;|&#x0005B;|&#x0007B;|&#x0002C;|&#x0003D;"
_MATHML = [
    (' xmlns="[^"]*"', ""),
    ("<mi>&#x0007E;</mi>", "<mo>&#x0223C;</mo>"),
    (rf"<m([io])>\\?({_FUNCTIONS})</m\1>", r'<mo lspace="0.1em" rspace="0.13em" movablelimits="true">\2</mo>'),
    (
        rf'<mover>((?:(?!</?mover).)*?<mo )stretchy="\w+"(>(?:{_ACCENTS})</mo></mover>)',
        r'<mover accent="true">\1stretchy="false"\2',
    ),
    ("<mo>&#x02016;</mo>", '<mo stretchy="false" lspace="0" rspace="0">&#x02016;</mo>'),
    (rf"(<mo[^>]*>(?:{_BEFORE_A_SIGN})</mo>)<mo>&#x02212;</mo>", r'\1<mo form="prefix">&#x02212;</mo>'),
]


def formula(tex: str, display: str = "inline") -> str:
    """`tex` as MathML, which a browser shows by itself; as it stands, in a code element, when it isn't valid TeX."""
    try:
        for pattern, replacement in _TEX:
            tex = re.sub(pattern, replacement, tex)
        mathml = str(convert(tex, display=display))
        for pattern, replacement in _MATHML:
            mathml = re.sub(pattern, replacement, mathml)
    except Exception:  # latex2mathml has no common base class for its errors
        return f"<code>{Markup.escape(tex)}</code>"
    return mathml


class _Renderer(IPythonRenderer):
    """nbconvert's Markdown, with formulas as MathML and links between notebooks and texts that stay in the report."""

    def inline_math(self, body: str) -> str:
        return formula(body)

    def block_math(self, body: str) -> str:
        return f'<span class="formula">{formula(body, "block")}</span>'

    def latex_environment(self, name: str, body: str) -> str:
        return self.block_math(f"\\begin{{{name}}}{body}\\end{{{name}}}")

    def _html_embed_images(self, html: str) -> str:
        # nbconvert parses each piece of HTML by itself, which closes an opening tag on the spot.
        return str(super()._html_embed_images(html)) if "<img" in html else html

    def link(self, text: str, url: str, title: str | None = None) -> str:
        return str(super().link(text, re.sub(r"^([\w.-]+)\.(ipynb|md)(?=#|$)", r"\1.html", url), title))


def markdown(text: str, cell: NotebookNode | None = None, folder: Path | None = None) -> Markup:
    """`text` as HTML. In a cell, HTML works and pictures of its `folder` are embedded; elsewhere HTML is just text."""
    if cell is None:
        renderer = _Renderer(escape=True, allow_harmful_protocols=False)
    else:
        attachments = cell.get("attachments", {})
        renderer = _Renderer(escape=False, embed_images=True, path=str(folder), attachments=attachments)
    return Markup(MarkdownWithMath(renderer=renderer).render(text))
