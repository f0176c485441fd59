"""The command that measures a file of points: `python -m lab_utils.measure mine.csv --real real.csv`."""

from __future__ import annotations

import argparse
import csv
import re
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from torch import Tensor

from lab_utils import SEED
from lab_utils.base.devices import CHOICES
from lab_utils.base.files import in_a_line, write_whole
from lab_utils.measure.compare import compare
from lab_utils.measure.comparison import Comparison
from lab_utils.measure.standings import SIZE, StandingsError, known, place, sentences
from lab_utils.points.dataset import dataset
from lab_utils.points.reading import Table, read_table
from lab_utils.points.shapes import SHAPES


@dataclass(frozen=True)
class Asked:
    """The points that a command is about, (n, 2) float64 in one unit, and what they are called."""

    generated: Tensor
    real: Tensor
    train: Tensor | None
    names: tuple[str, str]
    labels: tuple[str, str]


def parser() -> argparse.ArgumentParser:
    """The options of the command."""
    description = "How far are generated points from real ones, beside how far real ones are from each other?"
    parser = argparse.ArgumentParser(prog="python -m lab_utils.measure", description=description)
    default = " (default: %(default)s)"
    add = parser.add_argument
    add("generated", metavar="FILE", help="a table of generated points: CSV, .npy or Parquet")
    against = parser.add_mutually_exclusive_group(required=True)
    against.add_argument("--real", metavar="FILE", help="real points, which the model has not seen")
    against.add_argument("--data", metavar="NAME", choices=["cities", *SHAPES], help="the lab's own: %(choices)s")
    add("--columns", type=_columns, metavar="X,Y", help="those of x and y, by name or by number from 0")
    add("--real-columns", type=_columns, metavar="X,Y", help="the same in --real and --train (default: --columns)")
    add("--missing", choices=["raise", "drop"], default="raise", help="what becomes of rows without a value" + default)
    add("--train", metavar="FILE", help="points that the model has seen, to count copies; --data brings its own")
    add("--units", choices=["own", "normalised"], default="own", help="with --data, those of FILE" + default)
    add("--measures", type=_columns, metavar="NAME,…", help="only these; W2 of large sets must be asked for")
    add("--seed", type=int, default=SEED, metavar="N", help="of the shuffling" + default)
    add("--device", choices=CHOICES, default="cpu", help="where the sums over all pairs are worked out" + default)
    add("--out", type=Path, metavar="PAGE", help="also write a page with figures, which opens without a network")
    add("--json", metavar="FILE", help="also write the numbers as JSON; - is the standard output, without the table")
    return parser


def _columns(text: str) -> list[str]:
    """The names in `text`, split by commas; one with a comma in it is in double quotes."""
    return next(csv.reader([text], skipinitialspace=True), [])


def _read(options: argparse.Namespace) -> Asked:
    """The points that the options name.

    Raises:
        PointsError: a file has none, or none that can be used.
    """

    def table(source: str, columns: Sequence[str] | None) -> Table:
        return read_table("./cities" if source == "cities" else source, columns=columns, missing=options.missing)

    mine = table(options.generated, options.columns)
    if options.data:
        data = dataset(options.data)
        points = data.units.restore(mine.points) if options.units == "normalised" else mine.points
        labels = ("longitude", "latitude") if options.data == "cities" else ("x", "y")
        names = Path(options.generated).name, f"the lab's {options.data}"
        return Asked(points, data.units.restore(data.held_out), data.units.restore(data.train), names, labels)
    real_columns = options.real_columns or options.columns
    real = table(options.real, real_columns)
    train = table(options.train, real_columns).points if options.train else None
    return Asked(mine.points, real.points, train, (Path(options.generated).name, Path(options.real).name), real.columns)


def _standing(found: Comparison, data: str | None) -> tuple[pd.DataFrame | None, list[str]]:
    """Where the points stand among those that the lab has measured on its data: a table and sentences; or nothing."""
    if data is None:
        return None, []
    if data not in known():
        return None, [f"The lab has no standings of {data}; `make standings` measures what is missing."]
    multiples = {name: measure.multiple for name, measure in found.measures.items()}
    intervals = {name: measure.interval for name, measure in found.measures.items()}
    try:
        table, said = place(multiples, data), sentences(multiples, data, intervals=intervals)
    except StandingsError:  # no measure in common
        return None, []
    others = f"Samples that the lab has measured on {data}, × real, the best first; yours is among them."
    if found.size != SIZE:
        others += (
            f" They are sets of {SIZE} points, and yours have {found.size}. Smaller sets read nearer to 1, so that "
            f"yours may look better than they are: give {SIZE} points or more for a fair place."
        )
    return table, [others, *said.values()]


def _refused(options: argparse.Namespace) -> str:
    """Why the options can't be: what is to be written is read, or a folder, or both are one; or no measure is named."""
    if options.measures is not None and not options.measures:
        return "--measures names none; leave it out for all of them"
    read = {Path(name).resolve() for name in (options.generated, options.real, options.train) if name}
    written = [Path(name) for name in (options.out, options.json) if name and str(name) != "-"]
    for path in written:
        if path.resolve() in read:
            return f"{path} is a file of points that is read; write to another one"
        if path.is_dir():
            return f"{path} is a folder; name a file in it"
    if len({path.resolve() for path in written}) < len(written):
        return f"--out and --json both name {written[0]}; name two files"
    return ""


def _as_options(message: str) -> str:
    """What is wrong with points, with this command's options in the place of Python's arguments."""
    message = message.replace('missing="drop" (MISSING=drop)', "--missing drop")
    return re.sub(r"Choose: load\(.*", "Choose: --columns X,Y; those of the real points: --real-columns X,Y", message)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure; 0 when it is done, 1 when the disk failed, 2 when the points or the options were refused."""
    command = parser()
    options = command.parse_args(arguments)
    if options.data and (options.train or options.real_columns):
        command.error("--data brings its own real and training points; leave out --train and --real-columns")
    if options.real and options.units == "normalised":
        command.error("--units is about the lab's own data; with --real, write both files in the same units")
    if refused := _refused(options):
        command.error(refused)
    try:
        asked = _read(options)
        chosen = {"names": options.measures, "seed": options.seed, "device": options.device}
        found = compare(asked.generated, asked.real, train=asked.train, **chosen)
        standing, said = _standing(found, options.data)
        if options.json != "-":
            print(found)
        if options.json != "-" and said:
            shown = standing is not None and standing.rename_axis(None).to_string(
                float_format="{:.3g}".format, na_rep="–"
            )
            told = [shown, ""] if shown else []
            print("", said[0], *told, *said[1:], sep="\n")
        if options.out:
            from lab_utils.report.measured import page  # here, because what draws and fills pages is slow to import

            mine, real, names, labels = asked.generated, asked.real, asked.names, asked.labels
            html = page(found, mine, real, names=names, labels=labels, standing=standing, said=said)
            with write_whole(options.out) as part:
                part.write_text(html, encoding="utf-8")
            print(f"The page is {options.out}", file=sys.stderr)
        if options.json == "-":
            print(found.to_json())
        elif options.json:
            with write_whole(options.json) as part:
                part.write_text(found.to_json() + "\n", encoding="utf-8")
    except ValueError as error:  # of points, or of a measure that there isn't
        print(_as_options(in_a_line(error)), file=sys.stderr)
        return 2
    except OSError as error:
        print(in_a_line(error), file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.exit(main())
