"""The contract of a generator, as checks."""

from __future__ import annotations

import multiprocessing
from collections.abc import Collection
from concurrent.futures import ProcessPoolExecutor
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from hepfm.api import GENERATOR_KEYS, PartSchema, Sample
from hepfm.readers.checks import bad_values
from hepfm.readers.layout import check_parts
from hepfm.readers.pack import columns_of, pack
from hepfm.testing.checks import run_checks

_SEED = 5
_FAR = 2**40
"""An index of a large simulation: beyond 32 bits."""


def generator_contract(generator: type[Any], config: Any = None, *, other: Any = None) -> None:
    """Checks a generator's class against the contract of `hepfm.api.Generator`. Makes about 30 events.

    Args:
        generator: The class; a module that another process can import has it.
        config: Its configuration; by default ``generator.Config()``.
        other: A configuration with other events, whose digest has to differ.

    Raises:
        AssertionError: Names each rule that is broken.
    """
    config = config if config is not None else generator.Config()
    run_checks("generator", CHECKS, _Subject(generator, config, other))


@dataclass(frozen=True)
class _Subject:
    generator: type[Any]
    config: Any
    other: Any

    def make(self, seed: int = _SEED, parts: Collection[str] | None = None) -> Any:
        return self.generator(self.config, seed=seed, parts=parts)

    def alone(self, index: int, seed: int = _SEED) -> Sample:
        """An event of a generator that makes no other."""
        return _event(self.generator, self.config, seed, index)


def _event(generator: type[Any], config: Any, seed: int, index: int) -> Sample:
    sample: Sample = generator(config, seed=seed).event(index)
    return sample


def options_have_names_of_their_own(subject: _Subject) -> None:
    """The options are explained, survive JSON, and have names that recipes leave to them."""
    fields = subject.generator.Config.model_fields
    taken = sorted(GENERATOR_KEYS & fields.keys())
    assert not taken, f"Config has a field '{taken[0]}'"
    mute = [name for name, field in fields.items() if not field.description]
    assert not mute, f"Config.{mute[0]} has no description (a docstring, with use_attribute_docstrings)"
    again = subject.generator.Config.model_validate(subject.config.model_dump(mode="json"))
    assert again == subject.config, "a configuration that went through JSON is another"


def events_follow_the_schema(subject: _Subject) -> None:
    """Events have the columns of the schemas, with their types and shapes, labels apart, and nothing else."""
    generator = subject.make()
    check_parts(generator.parts)
    for index in (0, 1, _FAR):
        sample = generator.event(index)
        for half, label in ((sample.parts, False), (sample.labels, True)):
            for part, tables in half.items():
                assert part in generator.parts, f"event {index} has a part '{part}' that is in no schema"
                _assert_columns(
                    generator.parts[part], tables, label=label, where=f"event {index}, part {part}"
                )
        batch = pack([sample], generator.parts)
        bad = list(bad_values(batch, generator.parts, path=Path("generator"), first=index))
        assert not bad, bad[0]


def an_event_depends_on_its_index_alone(subject: _Subject) -> None:
    """An event alone equals the same event among others, in any order, asked for twice."""
    generator = subject.make()
    wanted = {index: subject.alone(index) for index in (0, 1, 2)}
    for index in (2, 0, 1, 1, 0, 2):
        _assert_same(generator.event(index), wanted[index], f"event {index} among others")


def events_differ(subject: _Subject) -> None:
    """Another index or another seed gives another event, far indices too."""
    first = subject.alone(0)
    for what, sample in (
        ("event 1", subject.alone(1)),
        (f"event {_FAR}", subject.alone(_FAR)),
        ("event 0 of the next seed", subject.alone(0, _SEED + 1)),
    ):
        assert not _same(sample, first), f"{what} is event 0 again"


def another_process_makes_the_same(subject: _Subject) -> None:
    """A process that is started anew makes the same events."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as other:
        found = other.submit(_event, subject.generator, subject.config, _SEED, 1).result(timeout=300)
    _assert_same(found, subject.alone(1), "event 1 of another process")


def parts_can_be_chosen(subject: _Subject) -> None:
    """A part that is made alone is the same, with the same schema and digest; others are not made."""
    whole = subject.make()
    event = whole.event(1)
    for part, schema in whole.parts.items():
        only = subject.make(parts=[part])
        assert set(only.parts) == {part}, f"asked for {part} alone it offers {sorted(only.parts)}"
        assert only.parts[part] == schema, f"part {part} alone has another schema"
        assert only.digest() == whole.digest(), f"part {part} alone has another digest"
        wanted = Sample(
            parts={name: tables for name, tables in event.parts.items() if name == part},
            labels={name: tables for name, tables in event.labels.items() if name == part},
        )
        _assert_same(only.event(1), wanted, f"part {part} made alone")


def an_event_stays(subject: _Subject) -> None:
    """An event does not change when the next ones are made."""
    generator = subject.make()
    event = generator.event(0)
    kept = deepcopy(event)
    generator.event(1)
    generator.event(2)
    _assert_same(event, kept, "event 0 after events 1 and 2 were made")


def digest_is_of_the_configuration(subject: _Subject) -> None:
    """The digest is hex, the same for each instance and seed, and another for another configuration."""
    digest = subject.make().digest()
    assert len(digest) >= 32, f"'{digest}' is too short to tell configurations apart"
    assert set(digest) <= set("0123456789abcdef"), f"'{digest}' is not hex"
    assert subject.make(seed=_SEED + 1).digest() == digest, "another seed has another digest"
    if subject.other is not None:
        changed = replace(subject, config=subject.other).make().digest()
        assert changed != digest, "another configuration has the same digest"


def closing_is_no_end(subject: _Subject) -> None:
    """After ``close`` it makes events as before."""
    generator = subject.make()
    wanted = deepcopy(generator.event(1))
    generator.close()
    _assert_same(generator.event(1), wanted, "event 1 after closing")


def _assert_columns(schema: PartSchema, tables: Any, *, label: bool, where: str) -> None:
    kind = "label" if label else "input"
    wanted = columns_of(schema, label=label)
    for table, columns in tables.items():
        names = wanted.get(table, [])
        strange = sorted(set(columns) - set(names))
        assert not strange, f"{where}: {table}.{strange[0]} is not among the {kind} columns of the schema"
        for name in names:
            at = f"{where}, {kind} {table}.{name}"
            assert name in columns, f"{at} is missing"
            column, values = schema.tables[table][name], columns[name]
            assert isinstance(values, np.ndarray), f"{at} is a {type(values).__name__}, not an array"
            assert values.dtype == column.dtype, f"{at} is {values.dtype}, not {column.dtype}"
            assert values.shape[1:] == column.shape, (
                f"{at} has rows of {values.shape[1:]}, not {column.shape}"
            )


def _columns(sample: Sample) -> dict[tuple[str, ...], Any]:
    return {
        (half, part, table, name): values
        for half in ("parts", "labels")
        for part, tables in getattr(sample, half).items()
        for table, columns in tables.items()
        for name, values in columns.items()
    }


def _same(a: Sample, b: Sample) -> bool:
    one, two = _columns(a), _columns(b)
    return one.keys() == two.keys() and all(np.array_equal(one[key], two[key]) for key in one)


def _assert_same(found: Sample, wanted: Sample, what: str) -> None:
    one, two = _columns(found), _columns(wanted)
    assert one.keys() == two.keys(), f"{what}: other columns ({sorted(one.keys() ^ two.keys())[:3]})"
    different = ["/".join(key) for key in one if not np.array_equal(one[key], two[key])]
    assert not different, f"{what}: {different[0]} differs"


CHECKS = (
    options_have_names_of_their_own,
    events_follow_the_schema,
    an_event_depends_on_its_index_alone,
    events_differ,
    another_process_makes_the_same,
    parts_can_be_chosen,
    an_event_stays,
    digest_is_of_the_configuration,
    closing_is_no_end,
)
