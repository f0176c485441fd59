"""What decides in source changes its checksum, and what only people read does not."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from lab_utils.base.code import code_checksum, decisive, imported
from lab_utils.base.files import sha256

SOURCE = """\"\"\"What it is for.\"\"\"

import math  # for the root

SHARP = "# no comment"


class Root:
    \'\'\'A root.

    # not code
    \'\'\'

    def of(self, x):
        # the positive one
        "of x"
        text = \'\'\'"a text" # that
        is kept\'\'\'
        return math.sqrt(x), text
"""
LEFT = """import math
SHARP = "# no comment"
class Root:
    def of(self, x):
        text = \'\'\'"a text" # that
        is kept\'\'\'
        return math.sqrt(x), text
"""


def test_comments_docstrings_and_blank_lines_decide_nothing():
    assert decisive(SOURCE) == LEFT
    assert decisive(LEFT) == LEFT
    assert decisive('def f(): "one line"; return 1\n') == 'def f(): "one line"; return 1\n'


@pytest.fixture
def package(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    folder = tmp_path / "a_package_for_checksums"
    folder.mkdir()
    files = {
        "__init__": "",
        "one": "import math\nfrom a_package_for_checksums import two\nfrom a_package_for_checksums.three import NAME\n",
        "two": "from a_package_for_checksums.one import anything  # in a circle\n",
        "three": "def late():\n    import a_package_for_checksums.four\nNAME = 3\n",
        "four": "four = 4\n",
        "five": "five = 5\n",
    }
    for name, text in files.items():
        (folder / f"{name}.py").write_text(text, encoding="utf-8")
    return folder


def test_a_checksum_changes_with_what_decides(package):
    modules = "a_package_for_checksums.four", "a_package_for_checksums.five"
    before = code_checksum(*modules)
    assert before == sha256(b"four = 4\nfive = 5\n")
    (package / "five.py").write_text("# better\nfive = 5\n", encoding="utf-8")
    assert code_checksum(*modules) == before
    (package / "five.py").write_text("five = 6\n", encoding="utf-8")
    assert code_checksum(*modules) != before
    with pytest.raises(ValueError, match="there is no module a_package_for_checksums"):
        code_checksum(*modules, "a_package_for_checksums.six")


def test_what_a_module_imports_is_found_to_the_end(package):
    found = imported("a_package_for_checksums.one", lambda name: name.startswith("a_package_for_checksums."))
    assert found == [f"a_package_for_checksums.{name}" for name in ("four", "one", "three", "two")]
    few = imported("a_package_for_checksums.one", lambda name: name.endswith("three"))
    assert few == [f"a_package_for_checksums.{name}" for name in ("one", "three")]


def test_threads_that_ask_at_once_get_the_same():
    """CPython 3.11 can't make an `ast` in two threads at once."""
    with ThreadPoolExecutor(4) as threads:
        found = {*threads.map(lambda _: code_checksum("lab_utils.base.code", "lab_utils.base.files"), range(200))}
    assert len(found) == 1
