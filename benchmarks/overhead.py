"""What running a cell costs beside the cell: cells that do nothing, each in a process of its own.

Their time is what the cell's process spends between reading its data and writing its record; the rest is planning,
starting, watching and leasing. Forms: `fork` is what `inrbench run` does, a fork of a process that has imported the
framework; `import` starts Python and imports the framework for each cell; `same` runs all in one process, where a crash
takes all. Alone:

    python benchmarks/overhead.py --cells 500
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tabulate import tabulate

TROUBLE = Path(__file__).resolve().parent.parent / "tests" / "execution" / "trouble"


def run(folder: Path, fitter: str, numbers: list[int], *more: str) -> tuple[float, float]:
    """(seconds of the whole command, seconds within its cells)."""
    sweep = {"profile": "smoke", "cells": [{"run": "trouble+dots", "grid": {"fitter.number": numbers}}]}
    sweep["cells"][0]["set"] = {"fitter": fitter}  # type: ignore[index]
    (folder / "sweep.yaml").write_text(json.dumps(sweep))
    records = folder / f"records-{time.monotonic_ns()}"
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(TROUBLE), os.environ.get("PYTHONPATH", "")]),
        "INRBENCH_CACHE": str(folder / "cache"),
    }
    command = [sys.executable, "-m", "inrbench", "run", "sweep.yaml", "--records", str(records), "--rerun", *more]
    start = time.perf_counter()
    subprocess.run(command, cwd=folder, env=environment, capture_output=True, check=True)
    took = time.perf_counter() - start
    found = [json.loads(path.read_text()) for path in records.glob("*.json")]
    assert len(found) == len(numbers)
    return took, sum(record["costs"]["total_s"] for record in found)


def main() -> None:
    """Time the forms and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, default=500)
    parser.add_argument("--jobs", type=int, default=1)
    options = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        for fitter, loads in (("trouble", "nothing"), ("trouble-in-torch", "PyTorch")):
            numbers = [*range(options.cells)]
            jobs = ("--threads", "1", "--jobs", str(options.jobs))
            whole, within = run(folder, fitter, numbers, *jobs)
            rows.append([loads, "fork", len(numbers), len(numbers) / whole, whole, (whole - within) / whole])
            few = numbers[: max(1, options.cells // 50)]
            spent = [run(folder, fitter, [number], "--threads", "1", "--in-process") for number in few]
            whole, within = sum(a for a, _ in spent), sum(b for _, b in spent)
            rows.append([loads, "import", len(few), len(few) / whole, whole, (whole - within) / whole])
            whole, within = run(folder, fitter, numbers, "--threads", "1", "--in-process")
            rows.append([loads, "same", len(numbers), len(numbers) / whole, whole, (whole - within) / whole])
    headers = ["framework", "form", "cells", "cells/s", "seconds", "outside of cells"]
    print(tabulate([[*row[:3], f"{row[3]:.1f}", f"{row[4]:.1f}", f"{row[5]:.0%}"] for row in rows], headers, "github"))


if __name__ == "__main__":
    main()
