"""What was asked over many trainings, and the verdicts."""

from lab_utils.study import guidance_results, guidance_study, guidance_truth, spread, target_study
from lab_utils.study.claims import claims_table
from lab_utils.study.findings import loss_finding, recipe_finding, strays_finding
from lab_utils.study.guidance_claims import guidance_claims_table
from lab_utils.study.results import Interval, Results
from lab_utils.study.running import RunsFailedError, run_table
from lab_utils.study.sweeps import (
    BASE,
    BETTER,
    DECAY,
    DETAIL,
    FADING,
    FINE,
    MORE_STEPS,
    SHARP,
    SWEEPS,
    TABLE,
    TAIL,
    WIDER,
    build,
    measure_model,
)
from lab_utils.study.table import TableError, read_table, select
from lab_utils.study.target_claims import FIRST, heard, needed, outside_by_way, truth_reads
from lab_utils.study.verdicts import described, effect, smallest, stated

__all__ = [
    "BASE",
    "BETTER",
    "DECAY",
    "DETAIL",
    "FADING",
    "FINE",
    "FIRST",
    "MORE_STEPS",
    "SHARP",
    "SWEEPS",
    "TABLE",
    "TAIL",
    "WIDER",
    "Interval",
    "Results",
    "RunsFailedError",
    "TableError",
    "build",
    "claims_table",
    "described",
    "effect",
    "guidance_claims_table",
    "guidance_results",
    "guidance_study",
    "guidance_truth",
    "heard",
    "loss_finding",
    "measure_model",
    "needed",
    "outside_by_way",
    "read_table",
    "recipe_finding",
    "run_table",
    "select",
    "smallest",
    "spread",
    "stated",
    "strays_finding",
    "target_study",
    "truth_reads",
]
