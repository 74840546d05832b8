"""ROOT files: the branches of a tree, read by uproot and awkward.

NanoAOD and its like (``nJet``, ``Jet_pt``, ...), JetClass (``part_px``, ``label_QCD``, ...), GiBUU's
``RootTuple`` (``Px``, ``barcode``, ...), flat tuples (``pt1``, ``pt2``, ...), and trees whose branches a
recipe names. An event is an entry of the tree.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from hepfm.errors import DataError, did_you_mean
from hepfm_structured.blocks import Array, BlockReader, Rows
from hepfm_structured.branches import Branch, BranchConfig, find_layout
from hepfm_structured.columns import Columns
from hepfm_structured.opened import Opened

_TREES = ("Events", "events", "tree", "RootTuple", "Delphes")
"""Names of trees of events, where a file has several."""
_KINDS = {"TTree", "TNtuple", "TNtupleD", "ROOT::RNTuple"}
_AWKWARD = re.compile(r"^(?:(var|\d+) \* )?(u?int\d+|float32|float64|bool)$")
_CPP = re.compile(r"^(?:(?:std::)?vector<|RVec<)?(u?int\d+_t|float|double|bool)(\[\]|>|\[(\d+)\])?$")
_DTYPES = {"float": "float32", "double": "float64", "bool": "bool"}


class RootReader(BlockReader):
    """Events of one ROOT file. Baskets hold many events: convert to an event store to train.

    Raises:
        DataError: It is no ROOT file or truncated, has no such tree, or no objects were found in it.
    """

    class Config(BranchConfig):
        """Options of the reader."""

        tree: str = ""
        """Name of the tree; by default the only one, or one of a name that says it."""

    @classmethod
    def sniff(cls, path: Path) -> bool:
        """Whether it is a ROOT file with a tree."""
        if not path.is_file():
            return False
        with path.open("rb") as file:
            if file.read(4) != b"root":
                return False
        try:
            with _reading(str(path)), _open(path) as file:
                return bool(_trees(file))
        except DataError:
            return False

    @classmethod
    def nearly(cls, path: Path) -> str:
        """What is wrong with a ROOT file. `DataError` where it is damaged."""
        with path.open("rb") as file:
            if file.read(4) != b"root":
                return ""
        with _reading(str(path)), _open(path) as opened:
            return "" if _trees(opened) else "the file has no tree (TTree or RNTuple)"

    def __init__(self, path: Path, config: Config | None = None) -> None:
        path = Path(path)
        options = config or self.Config()
        self._file = Opened(partial(_open, path))
        with _reading(str(path)):
            trees = _trees(self._file.get())
        self._tree = _tree(options.tree, trees, path)
        where = f"{path}, tree {self._tree}"
        with _reading(where):
            tree = self._file.get()[self._tree]
            n = int(tree.num_entries)
            names = list(tree.keys())
            of_tree = "TTree" in type(tree).__name__
            kinds = {name: _branch(tree[name], of_tree=of_tree) for name in names}
        self._branches = {name: branch for name, branch in kinds.items() if branch}
        layout = find_layout(self._branches, options, where=where)
        self._layout, self._where = layout, where
        self._columns = Columns(layout, self._branches, options, where=where)
        strange = kinds.keys() - self._branches.keys()
        super().__init__(
            path,
            options,
            part=options.part,
            schema=self._columns.schema(),
            n=n,
            provenance={
                "format": "ROOT",
                "tree": self._tree,
                "collections": [c or "objects" for c in layout.collections],
                **self._columns.left_out(strange),
            },
        )

    def _load(self, start: int, stop: int) -> Mapping[str, Rows]:
        names = self._layout.branches()
        return self._columns.tables(self._lists(names, start, stop), start)

    def _lists(self, names: list[str], start: int, stop: int) -> dict[str, tuple[Array, Array | None]]:
        import awkward as ak

        with _reading(f"{self._where}, events {start} to {stop - 1}"):
            tree = self._file.get()[self._tree]
            lists: dict[str, tuple[Array, Array | None]] = {}
            for name in names:
                found = tree[name].array(entry_start=start, entry_stop=stop, library="ak")
                if self._branches[name].length:
                    counts = np.asarray(ak.num(found, axis=1), np.int64)
                    lists[name] = np.asarray(ak.flatten(found, axis=1)), counts
                else:
                    lists[name] = np.asarray(found), None
        return lists

    def _count(self) -> Array:
        counts = np.zeros(len(self), np.int64)
        for columns in self._layout.collections.values():
            many = next(iter(columns.values()))
            length = self._branches[many[0]].length
            if length < 0:
                found = self._lists([many[0]], 0, len(self))[many[0]][1]
                assert found is not None
                counts += found
            else:
                counts += length or len(many)
        return counts

    def close(self) -> None:
        """Closes the file."""
        super().close()
        self._file.close()


def _open(path: Path) -> Any:
    if not path.is_file():
        raise DataError("there is no such file", where=str(path), fix="check the path")
    if not path.stat().st_size:
        raise DataError("the file is empty (0 bytes)", where=str(path), fix="copy or make it again")
    import uproot

    with _reading(str(path)):
        file = uproot.open(path, handler=uproot.source.file.MemmapSource)
        end = int(file.file.fEND)
    if end > (held := path.stat().st_size):
        what = f"the file is truncated: it has {held} of {end} bytes"
        raise DataError(what, where=str(path), fix="copy or make it again")
    return file


@contextmanager
def _reading(where: str) -> Iterator[None]:
    """Turns what uproot raises for a damaged file into `DataError`."""
    try:
        yield
    except DataError:
        raise
    except Exception as error:  # a damaged file makes its parser stumble on anything
        what = f"ROOT's data cannot be read ({type(error).__name__}: {str(error).strip().splitlines()[:1]})"
        raise DataError(
            what, where=where, fix="the file is damaged, or no ROOT file: get it again"
        ) from error


def _trees(file: Any) -> list[str]:
    """Names of the file's trees, without cycles."""
    return [name for name, kind in file.classnames(cycle=False).items() if kind in _KINDS]


def _tree(asked: str, trees: list[str], path: Path) -> str:
    if asked:
        if asked not in trees:
            raise DataError(f"there is no tree '{asked}'", where=str(path), fix=did_you_mean(asked, trees))
        return asked
    known = [name for name in _TREES if name in trees]
    if not trees or (len(trees) > 1 and not known):
        what = f"the file has {len(trees)} trees" if trees else "the file has no tree (TTree or RNTuple)"
        fix = f"name one by option tree: {', '.join(trees)}" if trees else "name another file"
        raise DataError(what, where=str(path), fix=fix)
    return known[0] if known else trees[0]


def _branch(found: Any, *, of_tree: bool) -> Branch | None:
    """A branch of numbers or lists of numbers; None for others.

    Args:
        found: uproot's branch or field.
        of_tree: Whether it is of a TTree, whose type says all; a field of an RNTuple may be within a list.
    """
    if of_tree:
        match = _CPP.match(str(found.typename).replace(" ", ""))
        if not match:
            return None
        length = 0 if not match[2] else int(match[3]) if match[3] else -1
        return Branch(_DTYPES.get(match[1], match[1].removesuffix("_t")), length)
    match = _AWKWARD.match(str(found.array(entry_start=0, entry_stop=0).type.content))
    if not match:
        return None
    return Branch(match[2], 0 if not match[1] else -1 if match[1] == "var" else int(match[1]))
