"""The page of a run: the verdicts first, then every table, then the figures. It opens without a network."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Callable, Mapping
from itertools import product
from pathlib import Path
from typing import Any

import jinja2
import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.race import EVERY, MEASURES, RACED, TARGETS
from benchmarks.summaries import (
    LAB,
    Result,
    Summary,
    coverage,
    evaluations,
    interval,
    names,
    number,
    raced_seeds,
    rates,
    seconds,
    times,
    where,
)
from benchmarks.verdicts import ahead, verdicts
from lab_utils.figures.style import BLUE, DPI, GREEN, GREY, ORANGE, STYLE, WIDTH

COLOURS = {LAB: BLUE, "diffusers": ORANGE, "smalldiffusion": GREEN, "EDM recipe": GREY}

Table = tuple[list[str], list[list[str]]]  # the headings, and the rows


def race_table(result: Result, data: str, measure: str) -> Table:
    """Seconds of training to each target; beside a target that was not reached, how long it was tried."""
    rows = []
    for name in names(where(result["race"], data=data)):
        found = [seconds(times(result, data, name, measure, target)) for target in TARGETS]
        rows.append([name, *(_seconds(one, result["options"]["budget"]) for one in found)])
    return ["contender", *(f"≤ {target:g} × real" for target in TARGETS)], rows


def _seconds(found: Summary, budget: float) -> str:
    return interval(found).replace("∞", f"> {budget:g}")


def rates_table(result: Result, what: str, n: int | None = None) -> Table:
    """Rates, and what share they are of the rate that the contender's own matrix products would allow."""
    rows = []
    for name in names(result["rates"]):
        found = rates(result, name, what, n)
        if not found:
            continue
        share = Summary.of(row["rate"] / row["products"] for row in found)
        adds = number(found[0]["adds"]) if what == "sampling" else ""
        alone = Summary.of(row["products"] for row in found)
        rate = interval(Summary.of(row["rate"] for row in found))
        rows.append([name, str(found[0]["threads"]), rate, interval(alone), interval(share), adds])
    unit = "points" if what == "training" else "point-steps"
    heads = ["contender", "threads", f"{unit} a second", "products alone", "share", "multiply-adds a point-step"]
    return (heads, rows) if what == "sampling" else (heads[:-1], [row[:-1] for row in rows])


def samplers_table(result: Result, data: str) -> Table:
    """What each sampler makes of the same networks, where the race ended."""
    rows, of_data = [], where(result["samplers"], data=data)
    for name in names(of_data):
        for sampler in dict.fromkeys(row["sampler"] for row in where(of_data, contender=name)):
            found = where(of_data, contender=name, sampler=sampler)
            cells = [_multiples([row[measure] for row in found]) for measure in (EVERY, *MEASURES)]
            rows.append([name, sampler, str(found[0]["evaluations"]), *cells])
    return ["contender", "sampler", "evaluations", EVERY, *MEASURES], rows


def evaluations_table(result: Result, data: str) -> Table:
    """The fewest evaluations at which every measure is at a target, where all have trained for the whole budget."""
    rows = []
    for name in names(where(result["samplers"], data=data)):
        found = [evaluations(result, data, name, target) for target in TARGETS]
        rows.append([name, *("in none of its ways" if math.isinf(count) else number(count) for count in found)])
    return ["contender", *(f"≤ {target:g} × real" for target in TARGETS)], rows


def _multiples(values: list[float | None]) -> str:
    return interval(Summary.of(float("inf") if value is None else value for value in values))


def tuning_table(result: Result, data: str) -> Table:
    """Every setting that was tried; of each peer, the best first."""
    rows = []
    for row in where(result["tuning"], data=data):
        cells = [_multiples([row[measure]]) for measure in (EVERY, *MEASURES)]
        rate, batch = number(row["learning_rate"]), number(row["batch_size"])
        width = number(row["width"]) if "width" in row else "its own"
        rows.append([row["contender"], rate, batch, width, row["sampler"], *cells])
    return ["contender", "learning rate", "batch size", "width", "sampler", EVERY, *MEASURES], rows


def plain_table(rows: list[Mapping[str, Any]]) -> Table:
    """Rows as they stand in the JSON."""
    return list(rows[0]) if rows else [], [[_cell(value) for value in row.values()] for row in rows]


def _cell(value: Any) -> str:
    return number(value) if isinstance(value, int | float) and not isinstance(value, bool) else str(value)


def _picture(figure: Figure) -> str:
    file = io.BytesIO()
    figure.savefig(file, format="png")
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


def _figure(rows: int, columns: int) -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=(WIDTH, 3.2 * rows), dpi=DPI, layout="constrained")
    return figure, list(figure.subplots(rows, columns, squeeze=False).flat)


@mpl.rc_context(STYLE)
def race_figure(result: Result) -> str:
    """The median multiple against seconds of training, as far as all seeds were watched."""
    panels = [*product(result["data"], RACED)]
    figure, all_axes = _figure(len(result["data"]), len(RACED))
    for axes, (data, measure) in zip(all_axes, panels, strict=True):
        rows = where(result["race"], data=data)
        for name in names(rows):
            own = where(rows, contender=name)
            seeds = len({row["seed"] for row in own})
            at: dict[float, list[float]] = {}
            for row in own:
                at.setdefault(row["checkpoint"], []).append(float("nan") if row[measure] is None else row[measure])
            curve = {when: Summary.of(values).middle for when, values in at.items() if len(values) == seeds}
            kind, _, tuned = name.partition(", ")
            axes.plot(
                [*curve], [*curve.values()], "--" if tuned else "-", label=name, marker=".", color=COLOURS.get(kind)
            )
        for target in TARGETS:
            axes.axhline(target, color=GREY, linewidth=0.8, linestyle=":")
        axes.set(xscale="log", yscale="log", xlabel="seconds of training", ylabel=f"{measure}, × real", title=data)
    figure.legend(*all_axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=4)
    return _picture(figure)


@mpl.rc_context(STYLE)
def sizes_figure(result: Result) -> str:
    """Time and memory against the number of points."""
    figure, all_axes = _figure(1, 2)
    labels = {"seconds": "seconds", "peak": "most memory, MB"}
    for axes, (name, label) in zip(all_axes, labels.items(), strict=True):
        counts = sorted({row["n"] for row in result["sizes"]})
        middle = [Summary.of(row[name] for row in where(result["sizes"], n=n)).middle for n in counts]
        axes.plot(counts, middle, marker="o", color=BLUE)
        axes.set(xscale="log", yscale="log", xlabel="points", ylabel=label)
    return _picture(figure)


def render(result: Result) -> str:
    """The whole page, also of a run that is not finished."""
    here = Path(__file__).parent
    environment = jinja2.Environment(
        loader=jinja2.ChoiceLoader([jinja2.FileSystemLoader(here), jinja2.PackageLoader("lab_utils.report")]),
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    fewest, most = raced_seeds(result)
    tables: dict[str, Callable[..., Table]] = {
        "race_table": race_table, "rates_table": rates_table, "samplers_table": samplers_table,
        "tuning_table": tuning_table, "evaluations_table": evaluations_table,
    }  # fmt: skip
    return environment.get_template("bench.html.j2").render(
        result=result, verdicts=verdicts(result), ahead=ahead(result),
        raced=RACED, measures=[*MEASURES], every=EVERY, coverage=coverage,
        fewest=fewest, seeds=str(most) if fewest == most else f"{fewest} to {most}",
        rounds=max((row["round"] for row in result["rates"]), default=0),
        race_figure=race_figure(result) if result["race"] else "", plain_table=plain_table,
        sizes_figure=sizes_figure(result) if result["sizes"] else "", **tables,
    )  # fmt: skip
