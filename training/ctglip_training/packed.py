"""Arrays of voxels on disk in compressed chunks, of which a crop reads only its own, in folders written whole.

The arrays are blosc2's, in chunks of 64 voxels an axis made of blocks of 16, zstd after bit shuffle: measured by
Testing/Benchmarks/bench_store.py.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import blosc2
import numpy as np

from CTGLIPLib.errors import OutputError

CHUNK_VOXELS, BLOCK_VOXELS = 64, 16
PACKING = {
    "codec": blosc2.Codec.ZSTD,
    "clevel": 5,
    "filters": [blosc2.Filter.BITSHUFFLE],
    "nthreads": 1,
}


def pack(array: np.ndarray, path: Path) -> None:
    """Write an array whose last three axes are voxels.

    Raises:
        OSError: if it cannot be written; blosc2 tells of a full disk by RuntimeError.
    """
    lead = array.ndim - 3
    chunks = (1,) * lead + tuple(min(CHUNK_VOXELS, n) for n in array.shape[lead:])
    blocks = (1,) * lead + tuple(min(BLOCK_VOXELS, n) for n in array.shape[lead:])
    packed: Any = np.ascontiguousarray(array)  # blosc2's own types know no numpy array
    blosc2.asarray(packed, urlpath=str(path), mode="w", chunks=chunks, blocks=blocks, cparams=PACKING)


def open_packed(path: Path) -> Any:  # noqa: ANN401 - blosc2 is untyped
    """The array of a file, of which what is indexed is read.

    Raises:
        OSError: if there is none; RuntimeError, if it is broken.
    """
    return blosc2.open(str(path), mode="r", dparams={"nthreads": 1})


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """A temporary folder beside `path` that becomes `path` only when the block succeeds.

    Raises:
        OutputError: if the folder cannot be written or the disk is full.
    """
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{path.name[:40]}-", dir=path.parent))
        yield temporary
        temporary.chmod(0o755)
        if path.exists():
            shutil.rmtree(path)
        temporary.replace(path)
    except (OSError, RuntimeError) as error:  # blosc2 tells of a full disk by RuntimeError
        msg = f"Could not write {path}: {error}. Free space or choose a folder that you may write to."
        raise OutputError(msg) from error
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)
