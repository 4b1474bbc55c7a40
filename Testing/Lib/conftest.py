"""What every test of the library shares: shape checks, seeds, no network, and where the real data lies."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings
from jaxtyping import install_import_hook

settings.register_profile("ctglip", deadline=None, derandomize=True)  # no failure by load or luck
settings.load_profile("ctglip")
install_import_hook(["CTGLIPLib"], "beartype.beartype")

os.environ["CTGLIP_OPENVINO"] = "off"  # but where it is tested: converting a network takes seconds

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


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder of random weights (see patient.py); not to be changed."""
    from patient import make_model

    return make_model(tmp_path_factory.mktemp("models") / "tiny").folder


@pytest.fixture(scope="session")
def patient(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ct.nii.gz, organs.nii.gz and organs.json (see patient.py); not to be changed."""
    from patient import write_patient

    folder = tmp_path_factory.mktemp("patient")
    write_patient(folder)
    return folder


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache folder that CT-GLIP uses during the test, with no models of the user's."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("CTGLIP_CACHE", str(folder))
    monkeypatch.setenv("CTGLIP_MODELS", str(tmp_path / "no-models"))
    return folder
