"""A model as a folder: model.safetensors, config.json, README.md (its card). Never a pickle.

Reading the configuration needs no torch; the hash of a model covers its weights and its configuration.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np

from CTGLIPLib import __version__
from CTGLIPLib.config import Config, from_dict, to_dict
from CTGLIPLib.errors import CheckpointError, ConfigError
from CTGLIPLib.files import sha256_of, whole_file

if TYPE_CHECKING:
    from torch import nn

    from CTGLIPLib.model import GroundedEncoder

C = TypeVar("C")

SCHEMA_VERSION = 1
WEIGHTS, CONFIG, CARD = "model.safetensors", "config.json", "README.md"
GROUNDED, TUMOR = "ct-glip", "tumor"
KINDS = {
    GROUNDED: "a model that answers questions, for `ctglip query --model`",
    TUMOR: "a tumour model, for `ctglip segment-tumor --model`",
}
"""What a model folder can hold; one without a kind, as written before there were several, answers questions."""
PICKLES = frozenset({".pt", ".pth", ".ckpt", ".bin", ".pkl"})


@dataclass(frozen=True)
class CheckedFolder(Generic[C]):
    """A checked folder of a model, weights not loaded.

    Attributes:
        folder: where it lies.
        config: its configuration.
        sha256: hash of weights and configuration, the model's identity.
    """

    folder: Path
    config: C
    sha256: str

    @property
    def card(self) -> str:
        """The model card, or an empty text."""
        path = self.folder / CARD
        return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""


class ModelFolder(CheckedFolder[Config]):
    """The folder of a model that answers questions."""


def open_model_folder(folder: Path) -> ModelFolder:
    """Check a folder with a model that answers questions.

    Raises:
        CheckpointError: as `read_folder`.
    """
    return ModelFolder(folder, *read_folder(folder, GROUNDED, Config))


def save_model(folder: Path, config: Config, model: GroundedEncoder, card: str) -> ModelFolder:
    """Write a model folder."""
    write_folder(folder, GROUNDED, config, model, card)
    return open_model_folder(folder)


def write_config(folder: Path, config: Config) -> None:
    """Write config.json for the weights that lie in `folder`."""
    write_manifest(folder, GROUNDED, config)


def read_folder(folder: Path, kind: str, config_type: type[C]) -> tuple[C, str]:
    """The configuration of a model folder of that kind, once checked, and its hash over weights and configuration.

    Args:
        folder: the model folder.
        kind: a key of `KINDS`.
        config_type: what its configuration is.

    Raises:
        CheckpointError: if it is no model folder of ours, of another kind or newer schema, altered, or holds a pickle.
    """
    config_path, weights_path = folder / CONFIG, folder / WEIGHTS
    if not config_path.is_file() or not weights_path.is_file():
        raise CheckpointError(_not_a_model(folder))
    recorded, values = _read_manifest(config_path, kind)
    try:
        actual = sha256_of(weights_path)
    except OSError as error:
        msg = (
            f"{weights_path} could not be read: {error.strerror or error}. Check that you may read it, or copy it anew."
        )
        raise CheckpointError(msg) from error
    if actual != recorded:
        msg = (
            f"{weights_path} was altered: its SHA-256 is {actual[:12]}..., config.json records {recorded[:12]}... "
            "Copy the model folder anew from where it came from."
        )
        raise CheckpointError(msg)
    try:
        config = from_dict(config_type, values, where=str(config_path))
    except (ConfigError, AttributeError, TypeError) as error:
        msg = f"The configuration in {config_path} cannot be used: {error}"
        raise CheckpointError(msg) from error
    return config, hashlib.sha256((actual + json.dumps(values, sort_keys=True)).encode()).hexdigest()


def write_folder(folder: Path, kind: str, config: object, network: nn.Module, card: str) -> None:
    """Write a model folder; config.json is written last, so that a half-written folder is never taken for a model."""
    from safetensors.torch import save_file

    with whole_file(folder / WEIGHTS) as temporary:
        save_file({name: tensor.contiguous() for name, tensor in network.state_dict().items()}, temporary)
    with whole_file(folder / CARD) as temporary:
        temporary.write_text(card, encoding="utf-8")
    write_manifest(folder, kind, config)


def write_manifest(folder: Path, kind: str, config: object) -> None:
    """Write config.json of a model of that kind for the weights that lie in `folder`."""
    manifest = {
        "schema_version": SCHEMA_VERSION,
        "kind": kind,
        "code_version": __version__,
        "weights_sha256": sha256_of(folder / WEIGHTS),
        "config": to_dict(config),
    }
    with whole_file(folder / CONFIG) as temporary:
        temporary.write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")


def folder_kind(folder: Path) -> str:
    """The kind of model that a folder says it holds; `GROUNDED` where it says nothing, as opening it then explains."""
    try:
        return str(json.loads((folder / CONFIG).read_text(encoding="utf-8")).get("kind", GROUNDED))
    except (OSError, ValueError, AttributeError):
        return GROUNDED


def load_weights(network: nn.Module, folder: Path) -> None:
    """Put the weights of a model folder into `network`.

    Raises:
        CheckpointError: if they do not fit.
    """
    from safetensors.torch import load_file

    try:
        network.load_state_dict(load_file(folder / WEIGHTS))
    except Exception as error:  # noqa: BLE001 - safetensors and torch raise several kinds
        cause = str(error).splitlines()[0]
        msg = f"The weights in {folder} do not fit its config.json: {cause} The folder is mixed up; copy it anew."
        raise CheckpointError(msg) from error


def load_network(model: ModelFolder, device: str = "cpu") -> GroundedEncoder:
    """The network of a model folder, in eval mode on `device`.

    Raises:
        CheckpointError: if the weights do not fit the configuration.
    """
    from CTGLIPLib.model import GroundedEncoder

    network = GroundedEncoder(model.config.model, model.config.preprocess)
    load_weights(network, model.folder)
    return network.eval().to(device)


def read_text_mean(model: ModelFolder) -> np.ndarray:
    """The mean text embedding that the model subtracts, float32, shape (dim,); needs no torch."""
    from safetensors import safe_open

    with safe_open(model.folder / WEIGHTS, framework="numpy") as file:
        return file.get_tensor("text_mean")


def _read_manifest(path: Path, kind: str) -> tuple[str, Mapping[str, Any]]:
    """The recorded hash of the weights, and the configuration's values.

    Raises:
        CheckpointError: if it is not a configuration of ours, of another kind, or of a newer schema.
    """
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        version = int(manifest["schema_version"])
        if version > SCHEMA_VERSION:
            msg = (
                f"{path.parent} has model schema {version}, but this CT-GLIP {__version__} reads up to "
                f"{SCHEMA_VERSION}. Update CT-GLIP."
            )
            raise CheckpointError(msg)
        if (found := manifest.get("kind", GROUNDED)) != kind:
            msg = f"{path.parent} holds {KINDS.get(found, f'a model of kind {found!r}')}; expected {KINDS[kind]}."
            raise CheckpointError(msg)
        return str(manifest["weights_sha256"]), dict(manifest["config"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        msg = (
            f"{path} is not a configuration of CT-GLIP: expected JSON with schema_version, weights_sha256 and config, "
            f"got {error!r}. Copy the model folder anew from where it came from."
        )
        raise CheckpointError(msg) from error


def _not_a_model(folder: Path) -> str:
    files = [folder] if folder.is_file() else sorted(folder.glob("*"))
    pickles = [path.name for path in files if path.suffix in PICKLES]
    hint = f" It holds {', '.join(pickles)}: pickles can run code when opened and are never loaded." if pickles else ""
    found = "a file" if folder.is_file() else "not both in it" if folder.is_dir() else "no such folder"
    return (
        f"Expected a model folder with {CONFIG} and {WEIGHTS} at {folder}, got {found}.{hint} "
        "`ctglip model list` shows the models there are."
    )
