"""From what a recipe or a command line names to readers: paths are resolved, formats are recognised."""

from __future__ import annotations

import difflib
import glob
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from hepfm.api import Reader, ReaderSpec, Spec
from hepfm.errors import DataError, PluginError, RecipeError, did_you_mean
from hepfm.plugins import plugins
from hepfm.readers.safety import open_h5

SAMPLE = Path(__file__).resolve().parent.parent / "sample"
"""Real-physics events that hepfm ships."""
SUFFIXES = (".h5", ".hdf5")
_HDF5 = b"\x89HDF\r\n\x1a\n"


def resolve_paths(spec: str | Path | list[str]) -> list[Path]:
    """The files or stores that a specification names, in a fixed order.

    Args:
        spec: A file, an event store's folder, a folder of files (sorted by name), a glob pattern, a list of
            these, or ``sample:train`` or ``sample:val``.

    Raises:
        DataError: Nothing is there.
    """
    if isinstance(spec, list):
        return [path for one in spec for path in resolve_paths(one)]
    text = str(spec)
    if text.startswith("sample:"):
        known = {p.stem: p for p in SAMPLE.glob("*.h5")}
        name = text.removeprefix("sample:")
        if name not in known:
            raise DataError(f"there is no sample '{name}'", where=text, fix=did_you_mean(name, known))
        return [known[name]]
    path = Path(text).expanduser()
    if path.is_file():
        return [path]
    if path.is_dir():
        return _in_folder(path)
    if glob.has_magic(text):
        if found := sorted(glob.glob(str(path), recursive=True)):  # noqa: PTH207  Path.glob needs a fixed root
            return [p for one in found for p in resolve_paths(Path(one))]
        raise DataError("no file fits the pattern", where=text, fix="check the pattern; quote it in a shell")
    near = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
    close = difflib.get_close_matches(path.name, near, n=1) if len(near) < 200 else []
    fix = f"did you mean '{close[0]}'?" if close else "check the path"
    raise DataError("there is no such file or folder", where=str(path), fix=fix)


def _in_folder(folder: Path) -> list[Path]:
    if _recognise(folder)[0]:
        return [folder]
    known = {s for spec in plugins().specs("readers") if isinstance(spec, ReaderSpec) for s in spec.suffixes}
    suffixes = sorted(known.union(SUFFIXES))
    files = sorted(p for p in folder.iterdir() if p.is_file() and p.suffix in suffixes)
    if not files:
        what = f"the folder holds no event file ({', '.join(suffixes)})"
        raise DataError(what, where=str(folder), fix="name the folder that has the files, e.g. its train/")
    return files


def open_reader(
    path: Path | str, reader: str | None = None, options: Mapping[str, Any] | None = None
) -> Reader:
    """Opens one file or store with the named reader, or with the one that recognises it.

    Args:
        path: A file, or a folder that is one store.
        reader: A reader's name.
        options: The reader's own options.

    Raises:
        DataError: No reader recognises it, or the reader refuses it.
        RecipeError: An option that the reader does not have.
    """
    path = Path(path)
    if not path.exists():
        raise DataError("there is no such file or folder", where=str(path), fix="check the path")
    cls, broken = (plugins().load("readers", reader), []) if reader else _recognise(path)
    if cls is None:
        if path.is_file() and (path.suffix in SUFFIXES or _begins_as_hdf5(path)):
            open_h5(path).close()  # an empty or truncated file is said to be so
        near = _nearly(path)
        names = ", ".join(s.name for s in plugins().specs("readers"))
        fix = f"readers: {names}; name one, or install the plugin that reads it"
        what = "; ".join(["no reader recognises this", *near])
        raise DataError(what, where=str(path), fix="; ".join([fix, *broken]))
    try:
        config = cls.Config(**(options or {}))
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        if not first["loc"]:
            what, fix = first["msg"].removeprefix("Value error, "), "correct the options"
        elif first["type"] in {"tuple_type", "list_type"}:
            what, fix = (
                f"option {key}: wanted a list",
                f"found {first['input']!r}; write it in brackets: [...]",
            )
        elif first["loc"][0] in cls.Config.model_fields:
            what, fix = f"option {key}: {first['msg'].lower()}", f"found {first['input']!r}"
        else:
            what, fix = f"the reader has no option '{key}'", did_you_mean(key, cls.Config.model_fields)
        raise RecipeError(what, where=f"options of {cls.__name__}", fix=fix) from error
    opened: Reader = cls(path, config)
    return opened


def _recognise(path: Path) -> tuple[Any, list[str]]:
    """The class of the reader that recognises the path, or None; and why some could not be asked."""
    broken = []
    for spec in _candidates(path):
        try:
            cls = plugins().load("readers", spec.name)
        except PluginError as error:
            broken.append(error.what)
            continue
        try:
            recognised = cls.sniff(path)
        except Exception as error:  # noqa: BLE001  a stranger's reader must not keep others from their files
            plugin = plugins().provider("readers", spec.name)
            broken.append(
                f"reader {spec.name} of {plugin.distribution} fails to look at it "
                f"({type(error).__name__}: {error})"
            )
            continue
        if recognised:
            return cls, broken
    return None, broken


def _begins_as_hdf5(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(_HDF5)) == _HDF5


def _candidates(path: Path) -> Iterator[Spec]:
    """Readers of files with this ending, or of any."""
    for spec in plugins().specs("readers"):
        suffixes = spec.suffixes if isinstance(spec, ReaderSpec) else ()
        if not (path.is_file() and suffixes and path.suffix not in suffixes):
            yield spec


def _nearly(path: Path) -> list[str]:
    """What keeps readers that come near from recognising it (`hepfm.api.Reader`)."""
    said = []
    for spec in _candidates(path):
        try:
            nearly = getattr(plugins().load("readers", spec.name), "nearly", None)
            sentence = nearly(path) if nearly else ""
        except DataError as error:
            sentence = error.what
        except Exception:  # noqa: BLE001  a hint that fails is none
            sentence = ""
        if sentence:
            said.append(f"reader {spec.name}: {sentence}")
    return said
