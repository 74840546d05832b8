"""Events of a generator by index: made in the process that asks for them, with ids from the core."""

from __future__ import annotations

import functools
import json
import os
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from hepfm import __version__
from hepfm.api import Batch, Generator, PartSchema, Sample
from hepfm.data.cuts import bad_value
from hepfm.errors import DataError, HepfmError, PluginError, RecipeError, did_you_mean
from hepfm.plugins import plugins
from hepfm.random import stable_id
from hepfm.readers.digest import json_digest
from hepfm.readers.hilbert import order_rows
from hepfm.readers.layout import check_parts
from hepfm.readers.pack import pack
from hepfm.recipe.components import configured
from hepfm.recipe.document import Key
from hepfm.recipe.layers import absolute_options

_BATCH_EVENTS = 256
_BATCH_BYTES = 1 << 24


class GeneratedEvents:
    """Events of one generator, configuration and seed. Pickles as its description.

    Attributes:
        generator: The generator's name.
        seed: The seed.
        options: Its complete options, as JSON.
        parts: Part name to schema, of the parts that are wanted.
        digest: Of the generator's name and all that events depend on but seed and index.
        plugin: Who offers the generator: name, distribution, version.
        doubts: What is odd in the configuration, and may yet be meant: sentences.

    Args:
        generator: The generator's name.
        options: Its options; others get their defaults.
        seed: 0 or more.
        parts: The parts that are wanted; all by default.
        places: Where single options were given, for messages.

    Raises:
        RecipeError: An option or part that it does not have, or a configuration that it refuses.
        PluginError: There is no such generator, or its class cannot be loaded.
    """

    def __init__(
        self,
        generator: str,
        options: Mapping[str, Any],
        *,
        seed: int,
        parts: Collection[str] | None = None,
        places: Mapping[Key, str] | None = None,
    ) -> None:
        label = f"options of the generator '{generator}'"
        placed = absolute_options(options, os.curdir)
        _, config = configured("generators", generator, placed, label=label, places=places)
        self.generator, self.seed = generator, seed
        self.options: dict[str, Any] = config.model_dump(mode="json")
        self.plugin = _provider(generator)
        self._wanted: tuple[str, ...] | None = None
        self._instance: Generator | None = None
        whole = _make(generator, json.dumps(self.options), seed, None)
        offered = whole.parts
        if parts is not None:
            for part in parts:
                if part not in offered:
                    what = f"The generator '{generator}' makes no part '{part}' with these options."
                    raise RecipeError(what, where=label, fix=did_you_mean(part, offered))
            self._wanted = tuple(name for name in offered if name in parts)
        self.parts: dict[str, PartSchema] = {n: s for n, s in offered.items() if parts is None or n in parts}
        check_parts(self.parts)
        self.doubts = tuple(map(str, getattr(whole, "doubts", ())))
        self.digest = json_digest([generator, whole.digest()])

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_instance": None}

    def _made(self) -> Generator:
        """The generator of this process; `PluginError` where the plugin is not that of the first process."""
        if self._instance is not None:
            return self._instance
        if (here := _provider(self.generator)) != self.plugin:
            raise PluginError(
                f"This process has another plugin for the generator '{self.generator}'.",
                where=f"here {here}, there {self.plugin}",
                fix="install the same packages on every node",
            )
        self._instance = _make(self.generator, json.dumps(self.options), self.seed, self._wanted)
        return self._instance

    def event_id(self, index: int) -> int:
        """The id of an event: it depends on generator, configuration, seed and index."""
        return stable_id(self.digest, self.seed, index)

    def place(self, index: int) -> str:
        """Where an event is from, for messages."""
        return f"generator {self.generator}, seed {self.seed}, event {index}"

    def read(self, indices: Iterable[int], *, labels: bool = True) -> Batch:
        """The events at these indices, in this order, as a numpy batch, rows in Hilbert order as in a store.

        Raises:
            PluginError: The generator failed; names the event.
            DataError: An event does not fit its schema, or an input is NaN or infinite.
        """
        indices = list(indices)
        return self._packed([self._event(index) for index in indices], indices, labels=labels)

    def batches(self, first: int, stop: int) -> Iterator[Batch]:
        """Events ``first`` to ``stop`` in pieces that fit into memory, however large an event is."""
        samples: list[Sample] = []
        nbytes = 0
        for index in range(first, stop):
            samples.append(self._event(index))
            nbytes += _nbytes(samples[-1])
            if len(samples) == _BATCH_EVENTS or nbytes >= _BATCH_BYTES or index == stop - 1:
                yield self._packed(samples, range(index + 1 - len(samples), index + 1))
                samples, nbytes = [], 0

    def provenance(self, first: int) -> dict[str, Any]:
        """What a file of these events says of them; ``first`` is the index of the first one."""
        return {
            "generator": self.generator,
            "plugin": self.plugin,
            "configuration": self.options,
            "configuration_digest": self.digest,
            "seed": self.seed,
            "first_index": first,
            "made_by": f"hepfm {__version__}",
        }

    def records(self) -> dict[str, tuple[float, float]]:
        """Digest of each file that events take records from, to the part of it, between 0 and 1.

        Raises:
            DataError: A file cannot be read.
        """
        return dict(getattr(self._made(), "records", dict)())

    def counts(self) -> Counter[str]:
        """What the generator left out or changed in this process so far, in its words."""
        return Counter(getattr(self._made(), "counts", dict)())

    def close(self) -> None:
        """Frees what the generator holds in this process."""
        self._made().close()

    def _event(self, index: int) -> Sample:
        try:
            sample = self._made().event(index)
        except HepfmError:
            raise
        except Exception as error:
            raise PluginError(
                f"The generator failed ({type(error).__name__}: {error}).",
                where=f"{self.place(index)}, options {json.dumps(self.options)}",
                fix=f"report it to the authors of {self.plugin['distribution']} {self.plugin['version']}; "
                "HEPFM_DEBUG=1 shows the traceback",
            ) from error
        return replace(sample, event_id=self.event_id(index))

    def _packed(self, samples: list[Sample], indices: Any, *, labels: bool = True) -> Batch:
        batch = order_rows(pack(samples, self.parts, labels=labels), self.parts)
        if bad := bad_value(batch, self.parts):
            row, field = bad
            raise DataError(
                "A value is NaN or infinite.",
                where=f"{self.place(indices[row])}, field {field}",
                fix=f"report it to the authors of {self.plugin['distribution']} {self.plugin['version']}",
            )
        return batch


def _provider(generator: str) -> dict[str, str]:
    info = plugins().provider("generators", generator)
    return {"name": info.name, "distribution": info.distribution, "version": info.version}


@functools.lru_cache(maxsize=8)
def _make(generator: str, options: str, seed: int, parts: tuple[str, ...] | None) -> Generator:
    # Kept for the next unit of work of this process: a generator's tables may have taken long.
    label = f"options of the generator '{generator}'"
    cls, config = configured("generators", generator, json.loads(options), label=label)
    made: Generator = cls(config, seed=seed, parts=parts)
    return made


def _nbytes(sample: Sample) -> int:
    return sum(
        np.asarray(values).nbytes
        for half in (sample.parts, sample.labels)
        for tables in half.values()
        for columns in tables.values()
        for values in columns.values()
    )
