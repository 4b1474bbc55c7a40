"""What every test of training shares: where the real data lies, seeds, no network."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import numpy as np
import pytest

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """The folder of real CTs, `$CTGLIP_DATA` or `../shared/data`; the test is skipped where there is none."""
    folder = Path(os.environ.get("CTGLIP_DATA", REPOSITORY.parent / "shared" / "data"))
    if not (folder / "abdomen_example" / "ct.nii.gz").is_file():
        pytest.skip(f"no real CT data at {folder}; set CTGLIP_DATA to run this test")
    return folder


@pytest.fixture
def rng() -> np.random.Generator:
    """A random generator with a fixed seed."""
    return np.random.default_rng(20240423)


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_args: object, **_kwargs: object) -> None:
        msg = "tests must not use the network"
        raise AssertionError(msg)

    monkeypatch.setattr(socket.socket, "connect", refuse)
