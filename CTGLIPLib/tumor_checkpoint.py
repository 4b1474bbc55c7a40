"""A tumour model as a folder, of the same files as CTGLIPLib.checkpoint writes; opening it needs no torch."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from CTGLIPLib.checkpoint import TUMOR, CheckedFolder, load_weights, read_folder, write_folder
from CTGLIPLib.tumor_config import TumorConfig

if TYPE_CHECKING:
    from CTGLIPLib.tumor_model import TumorSegmenter


class TumorFolder(CheckedFolder[TumorConfig]):
    """The folder of a tumour model."""


def open_tumor_model(folder: Path) -> TumorFolder:
    """Check the folder of a tumour model.

    Raises:
        CheckpointError: if it is no tumour model of ours, of a newer schema, altered, or holds a pickle.
    """
    return TumorFolder(folder, *read_folder(folder, TUMOR, TumorConfig))


def save_tumor_model(folder: Path, config: TumorConfig, network: TumorSegmenter, card: str) -> TumorFolder:
    """Write the folder of a tumour model.

    Args:
        folder: where; made if missing.
        config: the configuration that `network` was made with.
        network: the network.
        card: the model card: Markdown with `license:` and `data:` in its front matter.

    Raises:
        OutputError: if the folder cannot be written.
    """
    write_folder(folder, TUMOR, config, network, card)
    return open_tumor_model(folder)


def load_tumor_network(model: TumorFolder, device: str = "cpu") -> TumorSegmenter:
    """The network of a tumour model, in eval mode on `device`.

    Raises:
        CheckpointError: if the weights do not fit the configuration.
    """
    from CTGLIPLib.tumor_model import TumorSegmenter

    network = TumorSegmenter(model.config)
    load_weights(network, model.folder)
    return network.eval().to(device)
