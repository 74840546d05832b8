"""Checkpoints: complete or not there. Written aside, hashed, fsynced, renamed; found by looking."""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from hepfm.errors import CheckpointError
from hepfm.failpoints import failpoint

Buffer = bytes | memoryview

MANIFEST = "manifest.json"
ENGINE = "engine"
"""The folder of what resume and fork alone need."""
_FORMAT = 1


def folder_name(step: int) -> str:
    """``step-00001000``."""
    return f"step-{step:08d}"


def begin(checkpoints: Path, step: int) -> Path:
    """Makes the folder that a checkpoint is written into, and removes those that kills have left."""
    aside = checkpoints / f".{folder_name(step)}"
    checkpoints.mkdir(parents=True, exist_ok=True)
    for left_by_a_kill in checkpoints.glob(".step-*"):
        shutil.rmtree(left_by_a_kill)
    (aside / ENGINE).mkdir(parents=True)
    failpoint("checkpoint-begun")
    return aside


def write_file(path: Path, content: Iterable[Buffer]) -> dict[str, Any]:
    """Writes a file and syncs it to the disk.

    Returns:
        Its entry in the manifest: bytes and SHA-256, of what was to be written.
    """
    size, digest = 0, hashlib.sha256()
    with path.open("wb") as file:
        for buffer in content:
            size += file.write(buffer)
            digest.update(buffer)
        file.flush()
        os.fsync(file.fileno())
    return {"bytes": size, "sha256": digest.hexdigest()}


def complete(aside: Path, files: Mapping[str, Mapping[str, Any]], facts: Mapping[str, Any]) -> Path:
    """Turns what all ranks have written into a checkpoint, in one rename.

    Args:
        aside: Of `begin`.
        files: Name in it to what `write_file` returned.
        facts: JSON that goes into the manifest beside them, the step among it.

    Returns:
        The checkpoint's folder.
    """
    final = aside.with_name(folder_name(facts["step"]))
    if final.exists() and not aside.exists():  # tried again after it was renamed, and only the sync failed
        _sync(final.parent)
        return final
    text = json.dumps({"format": _FORMAT, **facts, "files": dict(sorted(files.items()))}, indent=1)
    with (aside / MANIFEST).open("w", encoding="utf-8") as manifest:
        manifest.write(text[: len(text) // 2])
        manifest.flush()
        failpoint("checkpoint-manifest")
        manifest.write(text[len(text) // 2 :])
    for path in (aside / MANIFEST, *(path for path in aside.rglob("*") if path.is_dir()), aside):
        _sync(path)
    failpoint("checkpoint-synced")
    for other in final.parent.glob("step-*"):
        if other.name >= final.name:  # damaged: a complete one would have been resumed from
            _remove(other)
    aside.rename(final)
    failpoint("checkpoint-renamed")
    _sync(final.parent)
    return final


def size_of_newest(checkpoints: Path) -> int | None:
    """Bytes of the newest checkpoint, which the next one will be about as large as."""
    for checkpoint in sorted(checkpoints.glob("step-*"), reverse=True):
        try:
            files = json.loads((checkpoint / MANIFEST).read_text(encoding="utf-8"))["files"].values()
            return sum(int(entry["bytes"]) for entry in files)
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return None


def verify(checkpoint: Path) -> dict[str, Any]:
    """The manifest of a checkpoint whose files are all there and as they were written.

    Raises:
        CheckpointError: One is missing, changed, unreadable, a link or too many; it is named with its hashes.
    """
    for path in (checkpoint, *checkpoint.rglob("*")):
        if path.is_symlink():
            raise _damaged(checkpoint, path.name, f"is a link to {path.readlink()}")
    try:
        manifest: dict[str, Any] = json.loads((checkpoint / MANIFEST).read_text(encoding="utf-8"))
        files = dict(manifest["files"])
        wanted = {name: str(entry["sha256"]) for name, entry in files.items()}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _damaged(checkpoint, MANIFEST, f"cannot be read ({error})") from error
    if manifest.get("format") != _FORMAT:
        raise _damaged(checkpoint, MANIFEST, f"has format {manifest.get('format')}, not {_FORMAT}")
    found = {path.relative_to(checkpoint).as_posix() for path in checkpoint.rglob("*") if not path.is_dir()}
    for name in sorted(found - {MANIFEST} - wanted.keys()):
        raise _damaged(checkpoint, name, "is not in the manifest")
    for name, sha256 in wanted.items():
        path = checkpoint / name
        if name not in found:
            raise _damaged(checkpoint, name, f"is missing (sha256 {sha256})")
        try:
            has = _sha256(path)
        except OSError as error:
            raise _damaged(checkpoint, name, f"cannot be read ({error})") from error
        if has != sha256:
            raise _damaged(checkpoint, name, f"has sha256 {has}, written was {sha256}")
    return manifest


def find_newest(checkpoints: Path) -> tuple[Path | None, list[CheckpointError]]:
    """The newest complete checkpoint, and what is wrong with those that are newer."""
    damaged: list[CheckpointError] = []
    for checkpoint in sorted(checkpoints.glob("step-*"), reverse=True):
        try:
            verify(checkpoint)
        except CheckpointError as error:
            damaged.append(error)
        else:
            return checkpoint, damaged
    return None, damaged


def choose(checkpoints: Path, step: int | None = None) -> Path:
    """A run's checkpoint of this step, by default the newest that is complete.

    Raises:
        CheckpointError: There is none, or it is damaged.
    """
    if step is None:
        newest, damaged = find_newest(checkpoints)
        if newest is not None:
            return newest
        found = "; ".join(str(error) for error in damaged) or "it has not saved one yet"
    else:
        chosen = checkpoints / folder_name(step)
        if chosen.is_dir():
            verify(chosen)
            return chosen
        found = "it has " + (", ".join(sorted(path.name for path in checkpoints.glob("step-*"))) or "none")
    wanted = "that is complete" if step is None else f"of step {step}"
    raise CheckpointError(
        f"Run {checkpoints.parent.name} has no checkpoint {wanted}: {found}.",
        where=str(checkpoints),
        fix="choose another run or step, or resume the run until it saves one",
    )


def retain(checkpoints: Path, *, keep: int, keep_best: int) -> list[Path]:
    """Deletes all checkpoints but the newest ``keep`` and the ``keep_best`` of the best validations.

    Validations that do not compare (`judged_by`) have their best each.

    Returns:
        Those that are left, oldest first.
    """
    there = sorted(checkpoints.glob("step-*"))
    best = (path for judged_alike in _best_first(there) for path in judged_alike[:keep_best])
    left = sorted({*there[-keep:], *best})
    for checkpoint in set(there) - set(left):
        _remove(checkpoint)
    return left


def choose_best(checkpoints: Path) -> Path:
    """The checkpoint of the best validation, verified; see ``train.best_by``.

    Of those that are judged as the newest one is (`judged_by`): other scores do not compare.

    Raises:
        CheckpointError: None was validated, or it is damaged.
    """
    judged = _best_first(checkpoints.glob("step-*"))
    if not judged or not judged[-1]:
        raise CheckpointError(
            f"Run {checkpoints.parent.name} has no checkpoint that was validated as it is judged now.",
            where=str(checkpoints),
            fix="name validation events (data.val), and save when it is validated (checkpoint.every)",
        )
    best = judged[-1][0]
    verify(best)
    return best


def judged_by(about: Mapping[str, Any]) -> str:
    """What a score depends on beside the weights: scores compare where this is the same.

    The figure (``train.best_by``), the validation events and how they are read, the objective, and the seed
    of what it draws.

    Args:
        about: The content of ``model.json``.
    """
    recipe, digests = about.get("recipe", {}), about.get("data_digests", {})
    train, data = recipe.get("train", {}), recipe.get("data", {})
    made = data.get("val")
    events = made.get("events") if isinstance(made, dict) else None  # a generator's digest does not say
    of = [train.get("best_by"), train.get("validate_events"), digests.get("val"), events, data.get("parts")]
    return json.dumps([*of, recipe.get("objective"), recipe.get("seed")], sort_keys=True)


def _best_first(checkpoints: Iterable[Path]) -> list[list[Path]]:
    """Those that were validated, for each way to judge, the newest one's last; of equal ones the earlier."""
    found: dict[str, list[tuple[float, Path]]] = {}
    for checkpoint in sorted(checkpoints):
        try:
            manifest = json.loads((checkpoint / MANIFEST).read_text(encoding="utf-8"))
            judgement = judged_by(json.loads((checkpoint / "model.json").read_text(encoding="utf-8")))
        except (OSError, ValueError, AttributeError):
            continue  # damaged: it goes when its time comes
        found[judgement] = scores = found.pop(judgement, [])
        score = manifest.get("score", manifest.get("val_loss"))  # older ones have the loss alone
        if score is not None and math.isfinite(score):
            scores.append((float(score), checkpoint))
    return [[checkpoint for _, checkpoint in sorted(scores)] for scores in found.values()]


def _remove(checkpoint: Path) -> None:
    """Renames first, so that what a kill leaves half deleted is not taken for a damaged checkpoint."""
    hidden = checkpoint.with_name(f".{checkpoint.name}-removed")
    checkpoint.rename(hidden)
    failpoint("checkpoint-removing")
    if hidden.is_symlink():  # refused, whatever it leads to
        hidden.unlink()
    else:
        shutil.rmtree(hidden)


def read_json(path: Path) -> dict[str, Any]:
    """The content of a JSON file of a checkpoint.

    Raises:
        CheckpointError: It is none.
    """
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"A file of the checkpoint cannot be read: {error}.", where=str(path)
        ) from error
    return content


def _damaged(checkpoint: Path, name: str, how: str) -> CheckpointError:
    return CheckpointError(
        f"{name} of the checkpoint {how}.",
        where=str(checkpoint / name),
        fix="delete this checkpoint; resume and fork take the newest that is complete",
    )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
