"""Recognising formats: a stranger's reader that fails is named and does not keep others from their files."""

from __future__ import annotations

from pathlib import Path
from typing import Self

import pytest
from pydantic import BaseModel, model_validator

from hepfm.api import ReaderSpec
from hepfm.errors import DataError, RecipeError
from hepfm.plugins import plugins
from hepfm.readers.sniff import open_reader, resolve_paths
from hepfm.readers.store import StoreReader

SAMPLE = "sample:val"


class Rude:
    """Fails to look at anything."""

    class Config(BaseModel):
        low: int = 0
        high: int = 1

        @model_validator(mode="after")
        def _in_order(self) -> Self:
            if self.low >= self.high:
                raise ValueError("low must be below high")
            return self

    @classmethod
    def sniff(cls, path: Path) -> bool:
        return bool(path.read_text())  # a folder cannot be opened, and HDF5 is no text


@pytest.fixture
def rude(monkeypatch: pytest.MonkeyPatch) -> None:
    found, load, provider = plugins(), plugins().load, plugins().provider("readers", "store")
    spec = ReaderSpec(name="rude", target="nowhere:Rude", suffixes=(".rude", ".h5"))
    specs = [spec, *found.specs("readers")]
    monkeypatch.setattr(found, "specs", lambda hook: specs if hook == "readers" else [])
    monkeypatch.setattr(found, "load", lambda hook, name: Rude if name == "rude" else load(hook, name))
    monkeypatch.setattr(found, "provider", lambda *_: provider)


@pytest.mark.usefixtures("rude")
def test_a_reader_that_fails_to_look_is_passed_over(tmp_path: Path) -> None:
    assert isinstance(open_reader(resolve_paths(SAMPLE)[0]), StoreReader)
    (tmp_path / "odd.rude").write_bytes(b"\xff\xfe\xff")
    with pytest.raises(DataError, match=r"reader rude of hepfm fails to look at it \(UnicodeDecodeError"):
        open_reader(tmp_path / "odd.rude")


@pytest.mark.usefixtures("rude")
def test_a_folder_of_a_plugins_files_is_found_by_their_suffix(tmp_path: Path) -> None:
    for name in ("b.rude", "a.rude", "notes.txt"):
        (tmp_path / name).touch()
    assert [path.name for path in resolve_paths(str(tmp_path))] == ["a.rude", "b.rude"]


def test_options_are_refused_in_words() -> None:
    path = resolve_paths(SAMPLE)[0]
    with pytest.raises(RecipeError, match="the reader has no option 'verifi'") as unknown:
        open_reader(path, options={"verifi": True})
    assert "did you mean 'verify'?" in str(unknown.value)
    with pytest.raises(RecipeError, match="option verify: input should be a valid boolean"):
        open_reader(path, options={"verify": "perhaps"})


@pytest.mark.usefixtures("rude")
def test_options_that_contradict_one_another_are_refused_in_the_readers_words(tmp_path: Path) -> None:
    (tmp_path / "a.rude").touch()
    with pytest.raises(RecipeError) as refused:
        open_reader(tmp_path / "a.rude", "rude", {"low": 2, "high": 1})
    assert refused.value.what == "low must be below high"
