"""The lab beside what a user would pick instead: `make bench`, which is `python -m benchmarks.bench` in `tests`.

    contender   what all contenders have in common, and the network that two of them share
    edm         the recipe of Karras et al. 2022, written out
    flow_matching  flow matching as its authors do it in the plane, written out
    peers       the lab, diffusers, smalldiffusion, and who is missing
    race        seconds of training to a quality; the peers' tuning
    rates       points and steps a second, beside the machine's own matrix products; memory
    sizes       time and memory against the number of points
    summaries   medians with intervals
    verdicts    what they say of the lab's promises
    page        the page and its figures
    bench       the command
    standings   the command behind `make standings`: data/standings.csv, by the same peers

What a peer needs is imported here and nowhere else in the project.
"""
