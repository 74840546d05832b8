"""What streams over whole data sets through Ray Data. The one file of this room that imports Ray."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from typing import Any

from hepfm.data.local_ray import init_options
from hepfm.errors import HepfmError
from hepfm.readers.convert import Unit, convert


def convert_all(units: Sequence[Unit], *, workers: int) -> Iterator[tuple[Unit, int | HepfmError]]:
    """Converts units in worker processes of a local Ray, or of the cluster that ``RAY_ADDRESS`` names.

    Args:
        units: What to write; on a cluster, sources and targets lie on a file system that all nodes share.
        workers: Units that are converted at once.

    Yields:
        Each unit as it is done, with its events or what went wrong; others go on.
    """
    options = init_options(os.environ.get("RAY_ADDRESS"), cpus=workers)
    import ray
    import ray.data

    started_here = not ray.is_initialized()
    if started_here:
        ray.init(**options)
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    try:
        rows = ray.data.from_items([{"unit": k} for k in range(len(units))], override_num_blocks=len(units))
        pool = ray.data.TaskPoolStrategy(size=workers)
        done = rows.map(_convert, fn_args=(list(units),), compute=pool)
        for row in done.iter_rows():
            yield units[row["unit"]], row["error"] or row["events"]
    finally:
        if started_here:
            ray.shutdown()


def _convert(row: dict[str, Any], units: Sequence[Unit]) -> dict[str, Any]:
    # An error is a result: raised, it would end the other units' work and lose its message in Ray's.
    try:
        return {"unit": row["unit"], "events": convert(units[row["unit"]]), "error": None}
    except HepfmError as error:
        return {"unit": row["unit"], "events": 0, "error": error}
