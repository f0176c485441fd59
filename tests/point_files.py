"""Read a file of points again, with another program than the one that wrote it."""

import numpy as np
import pyarrow.parquet
import torch

from lab_utils.points.reading import load


def read_points(path):
    """A file's points, by what its reader would use."""
    if path.suffix == ".parquet":
        table = pyarrow.parquet.read_table(path)
        assert table.column_names == ["x", "y"]
        return torch.from_numpy(np.stack([table["x"].to_numpy(), table["y"].to_numpy()], axis=1))
    return load(path) if path.suffix == ".csv" else torch.from_numpy(np.load(path))
