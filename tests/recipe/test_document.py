"""YAML of recipes: what a value is, what is refused and where, and that writing and reading agree."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from hepfm.errors import RecipeError
from hepfm.recipe.document import dump, flatten, parse

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXT
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=10,
)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001),
        ("1E+4", 1e4),
        ("-.5", -0.5),
        ("65_536", 65536),
        (".inf", float("inf")),
        ("no", "no"),
        ("on", "on"),
        ("true", True),
        ("1:30", "1:30"),
        ("007", "007"),
        ("2026-01-01", "2026-01-01"),
        ("sample:train", "sample:train"),
        ("'1e-3'", "1e-3"),
        ("~", None),
        ("", None),
        ("[1, 2.5, x]", [1, 2.5, "x"]),
        ("{a: {b: 1}}", {"a": {"b": 1}}),
    ],
)
def test_values_are_what_they_look_like(text, value):
    read = parse(text, "here")[0]
    assert read == value
    assert type(read) is type(value)


def test_lines_of_keys():
    text = "a: 1\nb:\n  c: 2\n\n  d:\n  - e: 3\n"
    assert parse(text, "x")[1] == {
        ("a",): 1,
        ("b",): 2,
        ("b", "c"): 3,
        ("b", "d"): 5,
        ("b", "d", "0", "e"): 6,
    }


@pytest.mark.parametrize(
    ("text", "line", "cause"),
    [
        ("a: 1\nb:\n  c: 1\n  c: 2\n", 4, "'c' is given twice, first in line 3"),
        ("a: 1\nb: [1, 2\n", 3, "expected"),
        ("a: &x [1]\nb: *x\n", 1, "anchors"),
        ("a: 1\nb: !!python/name:os.system\n", 2, "tag"),
        ("a: !!binary aGVsbG8=\n", 1, "tag"),
        ("a: 1\n? [x]\n: 2\n", 2, "a key must be a word"),
        ("a: 1\n---\nb: 2\n", 2, "document"),
    ],
)
def test_what_is_refused_names_the_line(text, line, cause):
    with pytest.raises(RecipeError, match=cause) as caught:
        parse(text, "my.yaml")
    assert caught.value.where.startswith(f"my.yaml:{line},")


@pytest.mark.parametrize("text", ["\x00", "[" * 10_000, "a: " + "9" * 10_000])
def test_hostile_texts_are_refused(text):
    with pytest.raises(RecipeError) as caught:
        parse(text, "my.yaml")
    assert "my.yaml" in caught.value.where


@given(st.dictionaries(TEXT, VALUES, max_size=4))
def test_written_values_are_read_back(tree):
    assert parse(dump(tree), "x")[0] == tree


@given(st.dictionaries(TEXT, TEXT | st.floats(allow_nan=False) | st.integers(), max_size=4))
def test_other_readers_take_text_for_text_and_numbers_for_numbers(tree):
    assert yaml.safe_load(dump(tree)) == tree


@pytest.mark.parametrize(
    "text", ["1e-3", "1E5", "no", "on", "1:30", "007", "0x1f", "2026-01-01", "null", "", "~", ".inf"]
)
def test_text_that_looks_like_something_else_stays_text_for_every_reader(text):
    assert parse(dump({"a": text}), "x")[0] == {"a": text}
    assert yaml.safe_load(dump({"a": text})) == {"a": text}


@given(st.dictionaries(TEXT, VALUES, min_size=1, max_size=4))
def test_each_value_is_written_on_the_line_of_its_key(tree):
    lines = dump(tree).split("\n")
    found = parse(dump(tree), "x")[1]
    assert len({found[key] for key in flatten(tree)}) == len(flatten(tree))
    assert max(found.values()) <= len(lines)
