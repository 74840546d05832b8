"""Where in a schema the labels of a task are, and which class each row is of.

Legend of shapes: N rows, C classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from hepfm.api import ClassName, Column, PartSchema
from hepfm.errors import DataError, RecipeError, did_you_mean


def the_part(part: str, schema: Mapping[str, PartSchema]) -> str:
    """The part that a head reads: the one named, or the only one there is.

    Raises:
        DataError: There is no such part.
        RecipeError: None is named, and there are several.
    """
    if part in schema:
        return part
    if part:
        raise DataError(f"There is no part '{part}'.", fix=did_you_mean(part, schema))
    if len(schema) > 1:
        raise RecipeError(
            f"There are the parts {', '.join(schema)}, and the head reads one.",
            where="objective.head.part",
            fix="name it",
        )
    return next(iter(schema))


def label_column(schema: PartSchema, table: str, name: str, *, part: str) -> Column:
    """A column of labels.

    Raises:
        DataError: There is none of this name.
    """
    labels = {column: about for column, about in schema.tables.get(table, {}).items() if about.label}
    if name not in labels:
        raise DataError(
            f"The data has no labels '{name}'.",
            where=f"part {part}, table {table}",
            fix=did_you_mean(name, labels)
            if labels
            else "learn from labelled events, or read them with labels",
        )
    return labels[name]


def classes_of(schema: PartSchema, column: Column, *, where: str) -> tuple[ClassName, ...]:
    """The classes that a column's values stand for.

    Raises:
        DataError: They have no names.
    """
    if column.vocabulary not in schema.vocabularies:
        raise DataError(
            "The classes have no names.",
            where=where,
            fix="give the column a vocabulary, in the reader's options or by converting the data again",
        )
    return schema.vocabularies[column.vocabulary]


def dtype_of(column: Column) -> torch.dtype:
    """The type that a column's values have as a tensor: whatever stands for a class fits in."""
    dtype: torch.dtype = getattr(torch, np.dtype(column.dtype).name)
    return dtype


def index_of(classes: Any, values: Any) -> Any:
    """``(N,)`` which of the values ``(C,)`` each class is, -1 for none; numpy or torch."""
    if isinstance(classes, torch.Tensor):  # a head's figures are made on the CPU, wherever it is
        values = values.to(classes.device)
    hit = classes[:, None] == values
    where = np.where if isinstance(hit, np.ndarray) else torch.where
    return where(hit.any(1), hit.argmax(1) if isinstance(hit, np.ndarray) else hit.long().argmax(1), -1)
