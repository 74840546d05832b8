"""What a launcher hands to each of its workers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class TrainRequest:
    """A training run, as plain values.

    Attributes:
        recipe: The resolved recipe, as ``recipe.model_dump(mode="json")``.
        run_dir: The run's folder, made by `hepfm.tracking.runs.create_run` and seen by all ranks.
        resume_from: ``"newest"`` for the newest complete checkpoint of the run, as it is also used without
            asking where the run has one (a worker was lost, and started again); or a checkpoint's folder in
            another run, to go on from it in this one (a fork); None to begin.
        allow_change: Whether recipe, data and plugins may differ from the checkpoint's.
        plugins: Versions of the launcher's plugins (`hepfm.plugins.Plugins.versions`), to compare with.
        timeout_s: After which an exchange between ranks is given up.
        launched: Whether the launcher keeps the record of attempts at the run (`hepfm.training.effective`).
    """

    recipe: Mapping[str, Any]
    run_dir: str
    resume_from: str | None = None
    allow_change: bool = False
    plugins: Mapping[str, Any] | None = None
    timeout_s: float = 1800.0
    launched: bool = False

    def to_json(self) -> dict[str, Any]:
        """Plain values, for JSON or a launcher of another process."""
        return asdict(self)

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> TrainRequest:
        """What `to_json` gave."""
        return cls(**content)
