"""What the tests of the readers share."""

from __future__ import annotations

import numpy as np
import pytest
from typer.testing import CliRunner


@pytest.fixture
def hepfm_data():
    """Runs ``hepfm data`` in this process; gives what it prints."""
    from hepfm.cli.data import app

    def run(*words):
        result = CliRunner().invoke(app, [str(word) for word in words])
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code == 0, result.output
        return result.stdout

    return run


@pytest.fixture
def converts(hepfm_data, tmp_path):
    """Converts a file by the command, and compares each array of each event with the reader's."""
    from hepfm.readers.sniff import open_reader

    def convert(path, options=None, reader=None):
        words = [f"--option={name}={value}" for name, value in (options or {}).items()]
        words += ["--reader", reader] if reader else []
        store = tmp_path / "store"
        hepfm_data("convert", path, store, *words, "--workers", "0")
        source, copy = open_reader(path, reader, options), open_reader(store)
        assert type(copy).__name__ == "StoreReader"
        assert len(copy) == len(source)
        assert np.array_equal(copy.event_ids(), source.event_ids())
        for event in range(len(source)):
            wanted, found = source.read([event]), copy.read([event])
            for half in ("parts", "labels"):
                tables = getattr(wanted, half)
                assert tables.keys() == getattr(found, half).keys()
                for part, name in ((p, t) for p in tables for t in tables[p]):
                    for column, values in tables[part][name].columns.items():
                        other = getattr(found, half)[part][name].columns[column]
                        assert other.dtype == values.dtype
                        np.testing.assert_array_equal(other, values, err_msg=f"{part} {name} {column}")
        picture = tmp_path / "event.png"
        hepfm_data("inspect", path, "--display", picture, *words)
        assert picture.stat().st_size > 5000
        return copy

    return convert


@pytest.fixture
def trace():
    """Samples of one channel of an event, from its flat tables; checks that the traces cut all samples."""

    def samples_of(tables, channel, which=0):
        ends = np.cumsum(tables["traces"]["n_samples"])
        adc = tables["samples"]["adc"]
        assert (ends[-1] if len(ends) else 0) == len(adc)
        k = np.flatnonzero(tables["traces"]["channel"] == channel)[which]
        return adc[ends[k] - tables["traces"]["n_samples"][k] : ends[k]]

    return samples_of
