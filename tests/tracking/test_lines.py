"""Lines of metrics: what is written is read back, whatever the number and wherever a crash cut the file."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hepfm.tracking.lines import decode, encode, number, plain, read_metrics


def same(a: float, b: float) -> bool:
    return a == b or (math.isnan(a) and math.isnan(b))


@given(st.dictionaries(st.text(), st.floats()))
def test_every_float_survives(metrics):
    line = encode({"step": 1, "metrics": metrics})
    json.loads(line, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    back = {key: number(value) for key, value in decode(line)["metrics"].items()}
    assert back.keys() == metrics.keys()
    assert all(same(back[key], metrics[key]) for key in metrics)


@pytest.mark.parametrize(
    "value",
    [
        np.float32(0.5),
        np.float64(0.5),
        np.array(0.5),
        torch.tensor(0.5),
        torch.tensor([0.5], dtype=torch.bfloat16),
    ],
)
def test_numpy_and_torch_scalars_are_numbers(value):
    assert plain({"a": [value]}) == {"a": [0.5]}
    assert type(plain(value)) is float


def test_a_tensor_of_many_values_is_refused():
    with pytest.raises((RuntimeError, ValueError)):
        plain(torch.zeros(3))


@given(st.data())
def test_a_file_cut_anywhere_loses_its_last_line_at_most(data):
    lines = [encode({"step": i, "time": 1.5 * i, "metrics": {"a": float(i)}}) for i in range(4)]
    whole = b"".join(lines)
    cut = whole[: data.draw(st.integers(0, len(whole)))]
    found = [entry for line in cut.splitlines(keepends=True) if (entry := decode(line))]
    assert [entry["step"] for entry in found] == list(range(cut.count(b"\n")))


def test_metrics_files_are_read_as_numbers(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(
        encode({"step": 3, "time": 2.0, "metrics": {"a": math.inf, "b": -math.inf}}) + b'{"step": 4'
    )
    assert list(read_metrics(path)) == [(3, 2.0, {"a": math.inf, "b": -math.inf})]
