"""The notebooks as texts: a name that a student gave to a function stays his, and the words of the house are used."""

import re
import symtable

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from lab_utils.base.files import PROJECT
from lab_utils.exercises import results

FOLDER = PROJECT / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
GLOSSARY = FOLDER / "glossary.md"


# --- a student's names


def given(source):
    """The names that a cell gives to something; those inside its functions and comprehensions are no concern."""
    symbols = symtable.symtable(source, "cell", "exec").get_symbols()
    return {symbol.get_name() for symbol in symbols if symbol.is_assigned() or symbol.is_imported()}


def lost(notebook):
    """Names of the students' functions that another cell gives to something else: run again, the check would fail."""
    written, others = set(), set()
    for cell in notebook.cells:
        if cell.cell_type == "code":
            solved = "solution" in cell.metadata.get("tags", [])
            (written if solved else others).update(given(cell.source))
    return written & others


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_no_cell_takes_the_name_of_a_students_function(path):
    assert lost(nbformat.read(path, as_version=4)) == set()


@pytest.mark.parametrize(
    "source", ["for loss in []: pass", "loss = 1", "a, (loss, b) = 1, (2, 3)", "import loss", "def loss(): pass"]
)
def test_a_name_that_is_taken_is_found(source):
    solution = new_code_cell("def loss(x):\n    return x", metadata={"tags": ["solution"]})
    assert lost(new_notebook(cells=[solution, new_code_cell(source)])) == {"loss"}


@pytest.mark.parametrize("source", ["print(loss)", "[loss for loss in []]", "f = lambda loss: loss", "f(loss=1)"])
def test_a_name_that_is_only_used_or_is_a_functions_own_is_left(source):
    solution = new_code_cell("def loss(x):\n    return x", metadata={"tags": ["solution"]})
    assert lost(new_notebook(cells=[solution, new_code_cell(source)])) == set()


# --- a cell that is run again


def spoilt(notebook):
    """Names that a cell takes from above and that it or a later cell gives to something else.

    Run again, that cell would find the other thing.
    """
    cells = []
    for cell in notebook.cells:
        if cell.cell_type == "code":
            needed, made = set(), set()
            for statement in results.statements(results.parsed(cell.source)):
                used, named = results.names(statement)
                needed |= used - made
                made |= named
            cells.append((needed, made))
    found, above = set(), set()
    for place, (needed, made) in enumerate(cells):
        found |= needed & above & set().union(*(later for _, later in cells[place:]))
        above |= made
    return found


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_cell_that_is_run_again_finds_what_it_found(path):
    assert spoilt(nbformat.read(path, as_version=4)) == set()


@pytest.mark.parametrize(
    ("cells", "names"),
    [
        (["rows = 1", "print(rows)", "rows = 2"], {"rows"}),
        (["rows = 1", "rows = rows + 1"], {"rows"}),
        (["rows = 1", "print(rows)", "for rows in []: pass"], {"rows"}),
        (["rows = 1", "rows = 2; print(rows)"], set()),
        (["rows = 1", "print(rows)", "[rows for rows in []]"], set()),
        (["rows = 1", "print(rows)", "def f(rows):\n    return rows"], set()),
    ],
)
def test_a_name_that_a_cell_would_not_find_again_is_found(cells, names):
    assert spoilt(new_notebook(cells=[new_code_cell(source) for source in cells])) == names


# --- cells that can be read


LINES = 25


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_no_cell_has_more_lines_than_can_be_read_at_once(path):
    cells = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    assert [cell.source for cell in cells if len(cell.source.splitlines()) > LINES] == []


# --- words


RULE = (
    "no picture without a number; no number without what the truth itself reads; no sentence that its numbers don't "
    "carry."
)
# A distance has no floor, only losses do; and of what is now called blur less is better.
WRONG_WORDS = re.compile(r"sharpness|× (its |the )?floor|multiples? of (its |the )?floor|floors? of (a|the) distance")


def texts(path):
    """What a notebook says: text, code and the outputs that are text."""
    for cell in nbformat.read(path, as_version=4).cells:
        yield cell.source
        for output in cell.get("outputs", []):
            yield output.get("text", "")
            yield from (
                text for kind, text in output.get("data", {}).items() if kind in ("text/plain", "text/markdown")
            )


def test_the_rule_of_the_house_stands_in_the_first_notebook():
    first, *_ = NOTEBOOKS
    assert RULE in " ".join(" ".join(texts(first)).split())


@pytest.mark.parametrize("path", [*NOTEBOOKS, GLOSSARY], ids=lambda path: path.stem)
def test_floor_is_said_of_losses_only_and_blur_has_its_name(path):
    said = path.read_text(encoding="utf-8") if path == GLOSSARY else "\n".join(texts(path))
    assert WRONG_WORDS.findall(said.lower()) == []


# --- the glossary


def rows():
    """(symbol, term, Polish, meaning, notebooks) of each term."""
    lines = [line for line in GLOSSARY.read_text(encoding="utf-8").splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]
    return [row for row in cells if row[1:2] != ["term"] and set(row[0]) != {"-"}]


def test_each_term_has_a_polish_word_a_meaning_and_a_notebook():
    numbers = {str(int(path.stem.partition("_")[0])) for path in NOTEBOOKS}
    assert len(rows()) > 50
    for row in rows():
        assert len(row) == 5, row
        _, *words, notebooks = row
        assert all(words), row
        assert set(notebooks.split(", ")) <= numbers, row


def test_no_term_stands_twice():
    terms = [term for _, term, *_ in rows()]
    assert len(set(terms)) == len(terms)


# what a reader of the notebooks, of a table of `measure` or of its page meets, and may not know
TERMS = """
blur; real, × real; strays; RMS nearest distance; rank; interval; nat; excess in nats; floor; excess; copies;
copied share; energy distance; probability flow; log-SNR; gradient signal; classifier (two-sample test);
cross-validation; original report; report; v-prediction; flow matching; velocity; coupling; reflow; straightness
"""


@pytest.mark.parametrize("term", [" ".join(term.split()) for term in TERMS.split(";")])
def test_the_glossary_has_the_words_of_the_measure(term):
    assert term in [row[1] for row in rows()]
