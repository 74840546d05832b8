"""What a recipe may say. Units are in the names; unknown keys are refused.

A *component* (a modality, backbone, objective or reader) is named, and its further keys are checked against
the ``Config`` of the plugin's class when the recipe is resolved (`hepfm.recipe.load`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag

from hepfm.api import GENERATOR_KEYS

PATTERNS = {
    r"^[A-Za-z0-9][A-Za-z0-9._-]{0,79}$": "a letter or digit, then letters, digits, '.', '_' and '-', "
    "at most 80 in all",
    r"^[A-Za-z][A-Za-z0-9_-]*$": "a letter, then letters, digits, '_' and '-'",
}
"""What texts have to look like: of a run's name, and of a part's; and in words."""
_RUN_NAME, _PART_NAME = PATTERNS


class Section(BaseModel):
    """A section of a recipe: frozen, and closed to unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)


class Component(BaseModel):
    """A plugin's class by name, with its options beside the name."""

    model_config = ConfigDict(frozen=True, extra="allow")

    name: str

    def options(self) -> dict[str, Any]:
        """All keys but the name."""
        return dict(self.model_extra or {})


class Part(BaseModel):
    """A part of the events that the run uses: its kind (a registered modality), and that one's options."""

    model_config = ConfigDict(frozen=True, extra="allow")

    kind: str

    def options(self) -> dict[str, Any]:
        """All keys but the kind."""
        return dict(self.model_extra or {})


class Generated(BaseModel):
    """Events that a generator makes as they are asked for; the generator's own options stand beside these."""

    model_config = ConfigDict(frozen=True, extra="allow", use_attribute_docstrings=True)

    generator: str
    """The generator's name."""
    events: int = Field(gt=0)
    """Number of events, which is the length of an epoch."""
    seed: int = Field(default=1, ge=0)
    """Of the events: another seed gives others."""
    first: int = Field(default=0, ge=0)
    """Index of the first event; the next ones follow."""

    def options(self) -> dict[str, Any]:
        """The generator's own."""
        return dict(self.model_extra or {})


assert set(Generated.model_fields) == GENERATOR_KEYS

Files = Annotated[str | list[str], Field(min_length=1)]
"""File, folder, glob, or a list of them."""


def _origin(value: Any) -> str:
    return "Generated" if isinstance(value, Mapping | Generated) else "files"


Events = Annotated[
    Annotated[Files, Tag("files")] | Annotated[Generated, Tag("Generated")], Discriminator(_origin)
]


class Data(Section):
    """Where events come from, and how they are batched."""

    train: Events
    """File, folder, glob, list of them, ``sample:train`` for the events that hepfm ships, or a generator."""
    val: Events | None = None
    """The same for validation; none for training without it."""
    train_events: int | None = Field(default=None, gt=0)
    """So many of the training events only, drawn by the run's seed: 10 are among 30. By default all."""
    reader: str | Component | None = None
    """A reader's name, alone or with its options beside it; by default each file is sniffed."""
    parts: dict[Annotated[str, Field(pattern=_PART_NAME)], Part] = Field(min_length=1)
    """Part name to kind and options."""
    batch_cost: int = Field(default=65_536, gt=0)
    """Budget of a global batch: stored rows (points, samples) over all its events."""
    batch_events: int = Field(default=32, gt=0)
    """Events of a global batch from a generator, whose events have no known size before they are made."""
    micro_batch_cost: int = Field(default=65_536, gt=0)
    """Budget of what one rank computes at once."""
    max_event_cost: int = Field(default=1_000_000, gt=0)
    """Events with more stored rows than this are refused: of files before they are read."""
    augment: bool = True
    """Whether training events are augmented."""

    @property
    def reader_name(self) -> str | None:
        """The reader's name; None where each file is sniffed."""
        return self.reader.name if isinstance(self.reader, Component) else self.reader

    @property
    def reader_options(self) -> dict[str, Any]:
        """What the recipe says of the reader beside its name."""
        return self.reader.options() if isinstance(self.reader, Component) else {}


class Adapt(Section):
    """What of an encoder is trained that begins with a checkpoint's weights."""

    mode: Literal["full", "lora", "frozen"] = "full"
    """All of it; small matrices beside those of its backbone; nothing, but the head on what it gives."""
    layer_decay: float = Field(default=1.0, gt=0, le=1)
    """In mode full, each layer learns by this factor slower than the one above it; tokenizers slowest."""
    rank: int = Field(default=8, gt=0)
    """Of LoRA's matrices."""
    alpha: float = Field(default=16.0, gt=0)
    """What LoRA learns is multiplied by alpha / rank."""
    matrices: list[str] = Field(default=[])
    """Linear layers of the backbone that get LoRA's (``qkv``, ``out``, ``mlp``); none for all."""


class Model(Section):
    """The encoder."""

    backbone: Component = Component(name="transformer")
    """What turns tokens into features; its options stand beside the name."""
    weights: str | None = None
    """Folder of a checkpoint whose encoder the model begins with; by default weights are drawn."""
    adapt: Adapt = Adapt()


Decay = Annotated[float, Field(ge=0, lt=1)]


class Train(Section):
    """The optimisation."""

    steps: int = Field(default=1000, ge=0)
    """Updates of the weights."""
    time_limit_minutes: float | None = Field(default=None, gt=0)
    """Stops with a checkpoint when this much wall time has passed."""
    learning_rate: float = Field(default=1e-3, gt=0)
    """AdamW's, reached after the warm-up."""
    final_learning_rate: float = Field(default=1e-5, ge=0)
    """Where the schedule ends."""
    warmup_steps: int = Field(default=100, ge=0)
    """Steps over which the learning rate rises from zero, linearly."""
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    """How the learning rate falls after the warm-up."""
    betas: tuple[Decay, Decay] = (0.9, 0.95)
    """AdamW's decays of the gradient's mean and of its square's."""
    weight_decay: float = Field(default=0.05, ge=0)
    """Not applied to biases, norms and embeddings."""
    clip_norm: float = Field(default=1.0, ge=0)
    """Largest norm of the gradient; 0 for no clipping."""
    ema_decay: float = Field(default=0.0, ge=0, lt=1)
    """Decay of the moving average of weights, which is validated and saved; 0 for none."""
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    """``auto``: bf16 where the processor has it."""
    validate_every: int = Field(default=100, gt=0)
    """Steps between validations; one more comes after the last step."""
    validate_events: int | None = Field(default=None, gt=0)
    """So many of the validation events, the same in every run; by default all."""
    patience: int | None = Field(default=None, gt=0)
    """Validations in a row that are no better than the best before, after which the run ends; none: never."""
    best_by: str | None = None
    """What the best validation is told by: the highest figure of a task (``macro_f1``), or with a minus sign
    before it the lowest (``-median_mm``). By default the lowest loss."""
    marginal_events: int = Field(default=1024, gt=0)
    """Training events from which the no-learning baseline takes its marginals, where it needs any; drawn."""
    max_bad_steps: int = Field(default=10, gt=0)
    """Steps in a row with a loss or gradient that is not finite, after which the run stops."""


class Checkpoint(Section):
    """When the run's state is saved, and how many are kept."""

    every: int = Field(default=100, gt=0)
    """Steps between checkpoints; one more comes after the last step."""
    keep: int = Field(default=2, gt=0)
    """Newest checkpoints that are kept."""
    keep_best: int = Field(default=1, ge=0)
    """Checkpoints of the best validations (``train.best_by``) that are kept beside the newest."""


class WorkerRange(Section):
    """How few and how many workers may train a run, as nodes come and go."""

    min: int = Field(default=1, gt=0)
    """With fewer, the run waits."""
    max: int = Field(gt=0)
    """More are not used."""


class Cluster(Section):
    """Where the run computes. Does not change what it computes."""

    launcher: Literal["ray", "in-process", "torchrun"] = "ray"
    """What starts the workers."""
    workers: Annotated[int, Field(gt=0)] | WorkerRange = 1
    """Processes that train together; ``{min: 1, max: 4}`` for as many as there is room for."""
    max_restarts: int = Field(default=3, ge=0)
    """Lost workers or nodes after which the workers are started again, from the newest checkpoint."""
    address: str | None = None
    """Ray address; by default ``RAY_ADDRESS``, else a local Ray is started."""
    cpus_per_worker: int | None = Field(default=None, gt=0)
    """By default the machine's cores divided by the workers."""
    gpus_per_worker: int | None = Field(default=None, ge=0)
    """By default one where the cluster has GPUs."""
    timeout_minutes: float = Field(default=30.0, gt=0)
    """How long workers wait for one that does not come, before all of them end with an error."""
    loader_workers: int = Field(default=0, ge=0)
    """Background processes that read events, for each worker."""

    @property
    def fewest_workers(self) -> int:
        """The fewest that the run is trained with."""
        return self.workers if isinstance(self.workers, int) else self.workers.min

    @property
    def most_workers(self) -> int:
        """The most that the run is trained with."""
        return self.workers if isinstance(self.workers, int) else self.workers.max


class Tracking(Section):
    """Where the run is recorded."""

    uri: str | None = None
    """By default ``MLFLOW_TRACKING_URI``, else SQLite beside the runs."""
    experiment: str = "hepfm"
    """MLflow's experiment."""
    displays: int = Field(default=1, ge=0)
    """Events drawn at each validation."""


class Recipe(Section):
    """A run, from data to record."""

    name: str = Field(pattern=_RUN_NAME, coerce_numbers_to_str=True)
    """Begins the name of the run's folder."""
    summary: str = ""
    """One line about it."""
    seed: int = Field(default=1, ge=0)
    """Of initial weights, order, augmentation and masks."""
    data: Data
    model: Model = Model()
    objective: Component
    """What is learned; its options stand beside the name."""
    train: Train = Train()
    checkpoint: Checkpoint = Checkpoint()
    deepspeed: dict[str, Any] = Field(default_factory=dict)
    """Passed to DeepSpeed over our defaults (``zero_optimization: {stage: 1}``, ...)."""
    cluster: Cluster = Cluster()
    tracking: Tracking = Tracking()


def settings(section: type[Section] = Recipe, at: str = "") -> Iterator[str]:
    """Dotted keys of all values that a section can hold, without the options of components."""
    for name, field in section.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, Section):
            yield from settings(inner, f"{at}{name}.")
        else:
            yield f"{at}{name}"
