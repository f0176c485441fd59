"""Every notebook run for real, and what it showed as pages: `python -m lab_utils.report`."""
