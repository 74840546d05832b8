"""What a head predicts of an event, beside what is right: drawn from the tables and their schemas alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from hepfm.api import ClassName, Column, PartSchema, Sample, Tables
from hepfm.display import instances
from hepfm.display.abreast import abreast
from hepfm.display.event import event_panels
from hepfm.display.fields import answer_tree, is_answer
from hepfm.display.panels import Heatmap, Lines, Marker, Panel, PointCloud, Tree
from hepfm.display.scene import GREY, PALETTE

Array = np.ndarray[Any, Any]
Parts = Mapping[str, Tables]

RIGHT, WRONG = (
    ClassName(value=0, name="right", colour=GREY),
    ClassName(value=1, name="wrong", colour=PALETTE[5]),
)


def answer_panels(
    sample: Sample,
    predicted: Parts,
    truth: Parts,
    *,
    schemas: Mapping[str, PartSchema],
    predictions: Mapping[str, PartSchema],
) -> list[Panel]:
    """The panels of one event, three in a row where there is truth for each point.

    Columns with a vocabulary are drawn as classes; whole numbers without one are instances, in the same
    colour where truth and prediction match; other numbers are values, and their difference. Where the part is
    no cloud of points, its display draws the column in place of the input. Of tables with rows of their own,
    places in space are marked in the picture of the inputs, and the rest is written below.

    Args:
        sample: The event's inputs, as the head read them.
        predicted: Part name, as in ``predictions``, to tables of what is predicted.
        truth: The same of what is right; columns, tables and parts may be missing.
        schemas: Part name to schema of the data.
        predictions: Part name to schema of what is predicted (`hepfm.api.Head.predictions`).

    Raises:
        PluginError: No plugin draws parts of this kind.
    """
    panels: list[Panel] = []
    trees: list[Tree] = []
    dense = False
    for part, schema in predictions.items():
        answer = _Answer(part, schemas[part], schema, predicted[part], truth.get(part, {}))
        if _points(sample, part, schemas[part]) is not None and schemas[part].primary in schema.tables:
            dense = True
            panels += answer.points(sample.parts[part])
        trees += answer.trees()
    if not dense:
        panels += _inputs(sample, schemas, list(_markers(predicted, truth, predictions)))
    return [*panels, *trees]


class _Answer:
    """A part's prediction and truth."""

    def __init__(
        self, part: str, data: PartSchema, schema: PartSchema, predicted: Tables, truth: Tables
    ) -> None:
        self.part, self.data, self.schema = part, data, schema
        self.predicted, self.truth = predicted, truth

    def points(self, inputs: Tables) -> Iterator[Panel]:
        """Rows of panels, of each column that has a truth; or without any, of each that says something."""
        primary = self.data.primary
        right = self.truth.get(primary, {})
        shown = event_panels(inputs, self.data, title=self.part)
        n = len(next(iter(inputs[primary].values())))
        cloud = next((p for p in shown if isinstance(p, PointCloud) and len(p.xyz) == n), None)
        for name, column in self.schema.tables[primary].items():
            if column.shape or (name not in right and (right or not is_answer(name))):
                continue
            found, true = self.predicted[primary][name], right.get(name)
            if cloud is None:
                yield from self._redrawn(inputs, name, column, true, found)
                continue
            if true is None:
                yield cloud
            if column.vocabulary:
                yield from self._classes(cloud, name, column, true, found)
            elif np.dtype(column.dtype).kind in "iu":
                yield from self._instances(cloud, name, true)
            else:
                yield from self._values(cloud, name, column, true, found)

    def trees(self) -> Iterator[Tree]:
        """What is predicted in tables with rows of their own, in words."""
        primary = self.data.primary
        for table, columns in self.schema.tables.items():
            if table == primary:
                continue
            points = self.schema.tables.get(primary, {})
            shared = next((name for name in columns if name in points and not points[name].vocabulary), None)
            matched = None if shared is None else self._matched(shared)
            yield answer_tree(
                f"{self.part}: {table}",
                columns,
                self.predicted[table],
                self.truth.get(table, {}),
                vocabularies={**self.schema.vocabularies, **self.data.vocabularies},
                number=shared,
                matched=matched,
            )

    def _matched(self, name: str) -> instances.Matched:
        found = self.predicted[self.data.primary][name]
        nothing = np.full(len(found), instances.NONE)
        return instances.match(self.truth.get(self.data.primary, {}).get(name, nothing), found)

    def _title(self, word: str, name: str) -> str:
        return f"{self.part}: {word} {name.replace('_', ' ')}".rstrip()

    def _classes(
        self, cloud: PointCloud, name: str, column: Column, true: Array | None, found: Array
    ) -> Iterator[PointCloud]:
        known = self.schema.vocabularies[column.vocabulary]
        words = self.data.vocabularies.get(column.vocabulary, known)
        if true is not None:
            yield _classed(cloud, self._title("true", name), true, words)
        yield _classed(cloud, self._title("predicted", name), found, words)
        if true is not None:
            judged = np.isin(true, [each.value for each in known])
            yield self._wrong(cloud, true != found, judged, "truth not known")

    def _instances(self, cloud: PointCloud, name: str, true: Array | None) -> Iterator[PointCloud]:
        both = self._matched(name)
        words = instances.vocabulary(both.count)
        if true is not None:
            title = f"{self._title('true', name)} ({len(both.of_true)})"
            yield _classed(cloud, title, both.truth, words)
        title = f"{self._title('predicted', name)} ({len(both.of_predicted)})"
        yield _classed(cloud, title, both.predicted, words)
        if true is not None:
            judged = both.truth != instances.NONE
            yield self._wrong(cloud, both.truth != both.predicted, judged, "of none in the truth")

    def _wrong(self, cloud: PointCloud, wrong: Array, judged: Array, otherwise: str) -> PointCloud:
        share = f", {wrong[judged].mean():.1%} of {judged.sum()} points" if judged.any() else ""
        words = (RIGHT, WRONG, ClassName(value=2, name=otherwise, colour=PALETTE[4]))
        return _classed(cloud, self._title("wrong", "") + share, np.where(judged, wrong, 2), words)

    def _values(
        self, cloud: PointCloud, name: str, column: Column, true: Array | None, found: Array
    ) -> Iterator[PointCloud]:
        shown = {"predicted": found} if true is None else {"true": true, "predicted": found}
        log = all(bool((values > 0).all()) for values in shown.values())
        like = replace(cloud, classes=None, vocabulary=(), value_label=name, value_unit=column.unit, log=log)
        for word, values in shown.items():
            yield replace(like, title=self._title(word, name), values=values)
        if true is not None:
            title = self._title("predicted - true", name)
            apart = np.asarray(found, np.float64) - true
            yield replace(like, title=title, values=apart, value_label=f"{name}, difference", log=False)

    def _redrawn(
        self, inputs: Tables, name: str, column: Column, true: Array | None, found: Array
    ) -> list[Panel]:
        """The part's own display with the column in place of the inputs, beside these."""
        primary = self.data.primary
        like = replace(self.data, tables={**self.data.tables, primary: {name: column}})
        like = replace(like, vocabularies={**self.data.vocabularies, **self.schema.vocabularies})
        shown = {"true": true, "predicted": found}
        answer = {
            title: event_panels({**inputs, primary: {name: values}}, like, title=title)
            for title, values in ((self._title(word, name), values) for word, values in shown.items())
            if values is not None
        }
        title = self._title("input", "")
        given = event_panels(inputs, self.data, title=title)
        units = {each.unit for each in self.data.tables[primary].values() if not each.label}
        if column.unit in units:  # one scale for all
            return abreast({title: given, **answer})
        rows = abreast(answer)
        if len(rows) != len(given) * len(answer):
            return [*given, *rows]
        beside = [rows[k : k + len(answer)] for k in range(0, len(rows), len(answer))]
        return [
            panel
            for first, more in zip(given, beside, strict=True)
            for panel in (_as_wide(first, more[0]), *more)
        ]


def _as_wide(panel: Panel, other: Panel) -> Panel:
    """The panel over the same time, or whatever its axis is."""
    if isinstance(panel, Lines | Heatmap) and isinstance(other, Lines | Heatmap):
        return replace(panel, x_range=other.x_range)
    return panel


def _points(sample: Sample, part: str, schema: PartSchema) -> Mapping[str, Array] | None:
    """The inputs' table of points, where the event has one."""
    return sample.parts.get(part, {}).get(schema.primary)


def _classed(cloud: PointCloud, title: str, classes: Array, words: tuple[ClassName, ...]) -> PointCloud:
    return replace(cloud, title=title, values=None, classes=classes, vocabulary=words)


def _inputs(sample: Sample, schemas: Mapping[str, PartSchema], markers: list[Marker]) -> Iterator[Panel]:
    """Pictures of the inputs, with what is marked in them where both are in mm."""
    for part, tables in sample.parts.items():
        if schemas[part].primary not in tables:
            continue
        for panel in event_panels(tables, schemas[part], title=part):
            if isinstance(panel, PointCloud) and panel.unit == "mm" and panel.values is not None:
                yield replace(panel, markers=tuple(markers))
            else:
                yield panel


def _markers(predicted: Parts, truth: Parts, predictions: Mapping[str, PartSchema]) -> Iterator[Marker]:
    """Places in mm of tables with rows of their own: the true ones, and the predicted ones over them."""
    for part, schema in predictions.items():
        for table, columns in schema.tables.items():
            for name, column in columns.items():
                if column.shape != (3,) or column.unit != "mm" or name.endswith("_sigma"):
                    continue
                true = np.asarray(truth.get(part, {}).get(table, {}).get(name, np.zeros((0, 3))), np.float64)
                if len(true := true[np.isfinite(true).all(1)]):
                    yield Marker(name=f"true {name}", xyz=true, colour=PALETTE[1])
                places = predicted[part][table][name]
                yield Marker(name=f"predicted {name}", xyz=places, colour=PALETTE[5], symbol="square")
