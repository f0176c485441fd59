"""docs/benchmarks.md tells what the rows beside it say, and these rows are those of whole races."""

import pytest
from benchmarks import bench, in_docs, race, stored
from benchmarks.summaries import where


def test_the_tables_of_the_page_follow_from_the_rows_beside_it():
    page = in_docs.PAGE.read_text(encoding="utf-8")
    assert in_docs.write(page, in_docs.kept()) == page


def test_a_page_without_a_place_for_a_table_is_refused():
    with pytest.raises(ValueError, match="has 0 places for the table 'after the time'"):
        in_docs.write("# What was measured\n", in_docs.kept())


def a_run(data, seeds, **options):
    """The JSON of a run in which the lab and one peer have raced; of the last seed the samplers are still missing."""
    asked = bench.parser().parse_args(["--data", *data, "--budget", "30"])
    result = stored.empty(asked, {})
    result["options"] |= options
    reads = dict.fromkeys((*race.MEASURES, race.EVERY), 1.0)
    for name in data:
        result["training_points"][name] = reads
        for seed in range(seeds + 1):
            for who, far in {"lab": 1.5, "EDM recipe": 3.0}.items():
                row = {"data": name, "seed": seed, "contender": who, **reads, "strays": far, "coverage": 0.9}
                result["race"].append({**row, "checkpoint": 30.0, "seconds": 30.0, race.EVERY: far})
                ways = ["a way", "astray"] if seed < seeds else []
                of_way = {"usual": "a way", "evaluations": 20, race.EVERY: far}
                result["samplers"] += [{**row, **of_way, "sampler": way} for way in ways]
                if ways:
                    result["samplers"][-1] |= dict.fromkeys((*race.MEASURES, race.EVERY))
    return result


@pytest.fixture
def beside(tmp_path, monkeypatch):
    monkeypatch.setattr(in_docs, "KEPT", {part: tmp_path / path.name for part, path in in_docs.KEPT.items()})


def test_parts_of_one_run_are_kept_as_one_and_only_whole_races(beside):
    in_docs.keep([a_run(["moons"], 2), a_run(["cities"], 3)])
    found = in_docs.kept()
    assert found["data"] == ["cities", "moons"]
    for name, seeds in {"cities": 3, "moons": 2}.items():
        for part in ("race", "samplers"):
            assert {row["seed"] for row in where(found[part], data=name, contender="lab")} == {*range(seeds)}
    lab = where(found["samplers"], data="cities", seed=0, contender="lab")
    assert [row[race.EVERY] for row in lab] == [1.5, None], "the worst is worked out again; what went astray has none"
    assert [row["blur"] for row in lab] == [1.0, None]
    assert "| towns | 3 | 1 | 1.5 | 3 (EDM recipe) | 3 (EDM recipe) |" in in_docs.after_the_time(found)
    assert "| towns | 2 × real | 30 | > 30 (EDM recipe) | 20 | – |" in in_docs.until_there(found)


def test_a_peer_is_told_ahead_where_it_is_beyond_the_interval_and_only_there(beside):
    run = a_run(["cities"], 3)
    for row in where(run["samplers"], contender="EDM recipe", sampler="a way"):
        row |= {"blur": 0.9, "coverage": 0.95, "RMS": 1.0 if row["seed"] else 0.5}
    in_docs.keep([run])
    rows = in_docs.ahead(in_docs.kept()).splitlines()[2:]
    assert rows == ["| towns | blur | EDM recipe | 0.9 | 1 |", "| towns | coverage | EDM recipe | 0.95 | 0.9 |"]


@pytest.mark.parametrize(
    ("options", "said"), [({"budget": 60.0}, "has others"), ({"tuning": 1.0}, "different runs (other tuning)")]
)
def test_runs_that_are_no_parts_of_one_are_refused(beside, options, said):
    other = a_run(["moons"], 1, **options)
    runs = [other] if "budget" in options else [a_run(["cities"], 1), other]
    with pytest.raises(stored.BenchError) as refused:
        in_docs.keep(runs)
    assert said in str(refused.value)
    assert not any(path.exists() for path in in_docs.KEPT.values())


def test_a_folder_without_a_run_is_a_sentence(tmp_path, capsys):
    before = in_docs.PAGE.read_bytes()
    assert in_docs.main([str(tmp_path)]) == 1
    assert capsys.readouterr().err.startswith(f"there is no {tmp_path / 'bench.json'}; run the benchmark first")
    assert in_docs.PAGE.read_bytes() == before


def test_the_command_writes_what_stands_there_again():
    before = in_docs.PAGE.read_bytes()
    assert in_docs.main([]) == 0
    assert in_docs.PAGE.read_bytes() == before
