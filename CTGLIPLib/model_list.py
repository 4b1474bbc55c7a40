"""The models that can be used by name: those shipped with CT-GLIP, and those that the user added."""

from __future__ import annotations

import difflib
import logging
import os
import re
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from CTGLIPLib.checkpoint import CARD, CONFIG, WEIGHTS, ModelFolder, open_model_folder
from CTGLIPLib.config import Config
from CTGLIPLib.errors import CheckpointError, OutputError
from CTGLIPLib.text_bank import cache_root

logger = logging.getLogger(__name__)

DEFAULT_MODEL = "default"
SHIPPED = Path(__file__).with_name("models")
GOOD_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
CARD_LINES = 12
NOT_STATED = "not stated"


@dataclass(frozen=True)
class ModelEntry:
    """A model in the list.

    Attributes:
        name: what `find_model` takes; its folder's name.
        folder: where it lies.
        config: its configuration.
        sha256: hash of its weights and configuration.
        where: whether it came with CT-GLIP or was added by the user.
    """

    name: str
    folder: Path
    config: Config
    sha256: str
    where: Literal["shipped", "added"]


def user_models_folder() -> Path:
    """Where added models are kept: $CTGLIP_MODELS, or the folder `models` of the cache."""
    return Path(os.environ.get("CTGLIP_MODELS") or cache_root() / "models")


def list_models() -> tuple[ModelEntry, ...]:
    """The usable models, shipped ones first, then by name; what cannot be used is logged and left out."""
    entries = []
    for where, name, folder in _folders():
        try:
            model = open_model_folder(folder)
        except CheckpointError as error:
            logger.warning("The model %s is left out of the list: %s", name, error)
            continue
        entries.append(ModelEntry(name, folder, model.config, model.sha256, where))
    return tuple(entries)


def find_model(name_or_folder: str = DEFAULT_MODEL) -> ModelFolder:
    """The model of that name, or in that folder.

    Raises:
        CheckpointError: if there is none, or it cannot be used.
    """
    by_name = {name: folder for _, name, folder in reversed(_folders())}
    if name_or_folder in by_name:
        return open_model_folder(by_name[name_or_folder])
    path = Path(os.path.expanduser(name_or_folder))  # noqa: PTH111 - Path.expanduser raises for an unknown ~user
    if path.exists():
        return open_model_folder(path)
    names = sorted(by_name)
    close = difflib.get_close_matches(name_or_folder, names, n=1, cutoff=0.5)
    there_are = (
        f"There are: {', '.join(names)}." if names else "No model is installed; add one with `ctglip model add DIR`."
    )
    hint = f" Did you mean {close[0]!r}?" if close else ""
    msg = f"There is no model and no folder {name_or_folder!r}. {there_are}{hint}"
    raise CheckpointError(msg)


def add_model(folder: Path, name: str | None = None) -> ModelEntry:
    """The model in `folder`, copied to the user's models under `name` (the folder's own name where None).

    Only weights, configuration and card are copied; they are checked after copying, and then appear at once.

    Raises:
        CheckpointError: if it is no usable model, or the name is taken or cannot be a folder's name.
        OutputError: if the user's models folder cannot be written.
    """
    open_model_folder(folder)
    chosen = folder.resolve().name if name is None else name
    if not GOOD_NAME.fullmatch(chosen):
        msg = (
            f"A model's name must be 1 to 64 letters, digits, dots, dashes and underscores, got {chosen!r}. "
            "Choose one with --name."
        )
        raise CheckpointError(msg)
    taken = {other.lower(): path for _, other, path in _folders()}
    if chosen.lower() in taken:
        there = taken[chosen.lower()]
        msg = f"There is a model {chosen!r} already, in {there}. Choose another name with --name, or remove it."
        raise CheckpointError(msg)
    target = user_models_folder() / chosen
    try:
        model = _copy(folder, target)
    except OSError as error:
        msg = f"The model could not be copied to {target}: {error.strerror or error}. Free space or set CTGLIP_MODELS."
        raise OutputError(msg) from error
    return ModelEntry(chosen, target, model.config, model.sha256, "added")


@dataclass(frozen=True)
class ModelFacts:
    """What a user should know of a model before using it, in a few words each.

    Attributes:
        licence: under which its weights may be used; "not stated" where its card does not say.
        data: what it was trained on.
        knows: what it can be asked with some hope.
    """

    licence: str
    data: str
    knows: str


def model_facts(model: ModelFolder) -> ModelFacts:
    """The facts in the front matter of a model's card: the lines `license:`, `data:` and `knows:` between two ---."""
    front, _ = _split_card(model.card)
    values = {key.strip().lower(): value.strip() for key, _, value in (line.partition(":") for line in front)}
    organs, score = len(model.config.model.segmentation_organs), model.config.score
    knows = f"{organs} organs of its own; {_calibration(score.calibrated_on, score.threshold, len(score.by_finding))}"
    return ModelFacts(
        values.get("license") or values.get("licence") or NOT_STATED,
        values.get("data") or NOT_STATED,
        values.get("knows") or knows,
    )


def describe_model(model: ModelFolder) -> str:
    """A text for the terminal: what the model is, what it was made for, the start of its card."""
    config = model.config
    network, score = config.model, config.score
    options = [name for name in ("coordinates", "intensity", "power_mean", "geometry") if getattr(network, name)]
    rows = {
        "model": config.name,
        "folder": str(model.folder),
        "sha256": model.sha256,
        "vision encoder": f"{network.backbone}, options: {', '.join(options) or 'none (as in the paper)'}",
        "text encoder": f"{config.text.encoder} (revision {config.text.revision}), {network.text_dim}-d",
        "voxels": f"{config.preprocess.spacing_mm:g} mm, windows of up to {config.preprocess.patch_voxels} voxels",
        "HU window": "{:g} to {:g}".format(*config.preprocess.window_hu),
        "own segmentation": f"{len(network.segmentation_organs)} organs" if network.segmentation_organs else "none",
        "calibration": _calibration(score.calibrated_on, score.threshold, len(score.by_finding)),
    }
    width = max(map(len, rows))
    lines = [f"{key:<{width}}  {value}" for key, value in rows.items()]
    card = _card_start(model.card)
    return "\n".join([*lines, "", *(card or ["No model card."]), "", "Research software, not a medical device."])


def _folders() -> list[tuple[Literal["shipped", "added"], str, Path]]:
    """Folders that hold a model's configuration, shipped ones first; hidden ones are copies under way."""
    found: list[tuple[Literal["shipped", "added"], str, Path]] = []
    roots: tuple[tuple[Literal["shipped", "added"], Path], ...] = (
        ("shipped", SHIPPED),
        ("added", user_models_folder()),
    )
    for where, root in roots:
        for path in sorted(root.glob(f"*/{CONFIG}")):
            if not path.parent.name.startswith("."):
                found.append((where, path.parent.name, path.parent))
    return found


def _copy(folder: Path, target: Path) -> ModelFolder:
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".adding-", dir=target.parent) as name:
        copied = Path(name) / target.name
        copied.mkdir()
        for file in (WEIGHTS, CARD, CONFIG):
            if (folder / file).is_file():
                shutil.copyfile(folder / file, copied / file)
        open_model_folder(copied)
        copied.rename(target)
    return open_model_folder(target)


def _calibration(calibrated_on: str, threshold: float, findings: int) -> str:
    if not calibrated_on:
        return f"none: scores are not probabilities of disease; threshold {threshold:g}"
    return f"{calibrated_on}; threshold {threshold:g}, {findings} findings on their own"


def _card_start(card: str) -> list[str]:
    """The model card's first lines, front matter left out except its licence."""
    front, body = _split_card(card)
    more = ["..."] if len(body) > CARD_LINES else []
    return [*(line for line in front if line.lower().startswith("license:")), *body[:CARD_LINES], *more]


def _split_card(card: str) -> tuple[list[str], list[str]]:
    """The lines of a model card's front matter, and those of its text."""
    lines = card.strip().splitlines()
    front: list[str] = []
    if lines and lines[0].strip() == "---" and "---" in (line.strip() for line in lines[1:]):
        end = next(n for n, line in enumerate(lines[1:], start=1) if line.strip() == "---")
        front, lines = lines[1:end], lines[end + 1 :]
    return front, "\n".join(lines).strip().splitlines()
