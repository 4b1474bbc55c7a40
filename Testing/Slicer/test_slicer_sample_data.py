"""Sample data: what Slicer is told, and what a user gets, also when the internet gives something else."""

from __future__ import annotations

import hashlib
import shutil
import sys
from pathlib import Path

import pytest
import slicer


@pytest.fixture
def samples(scene):
    from CTGLIPSlicer import sample_data

    return sample_data


@pytest.fixture
def sources(samples):
    samples.registerSampleData()
    return {source.sampleName: source for source in slicer.modules.sampleDataSources["CT-GLIP"]}


def test_both_samples_are_offered_with_addresses_and_sums(sources):
    assert list(sources) == ["CTGLIPChest", "CTGLIPAbdomen"]
    for source in sources.values():
        assert all(uri.startswith("https://raw.githubusercontent.com/") for uri in source.uris)
        assert all(checksum.startswith("SHA256:") and len(checksum) == 71 for checksum in source.checksums)
        assert source.loadFileType[:2] == ["VolumeFile", "SegmentationFile"]
        assert Path(source.thumbnailFileName).is_file()


def test_registering_twice_offers_them_once(samples, sources):
    samples.registerSampleData()
    assert len(slicer.modules.sampleDataSources["CT-GLIP"]) == 2


def test_the_chests_sums_are_those_of_the_demo(samples):
    from CTGLIPLib.sample_data import CT, FILES_SHA256, MASK, NAMES

    chest = samples.CHEST
    assert {CT: chest.ct.sha256, MASK: chest.masks.sha256, NAMES: chest.names.sha256} == FILES_SHA256


def test_the_abdomens_sums_are_those_of_the_development_data(samples, dataFolder):
    folder = dataFolder / "abdomen_example"
    for file, name in ((samples.ABDOMEN.ct, "ct.nii.gz"), (samples.ABDOMEN.masks, "seg_v2_117_fast.nii.gz")):
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == file.sha256


def give(samples, dataFolder, monkeypatch, missing=()):
    """Slicer's downloader gives the development data's files; those of `missing` are other files than expected."""
    folder = dataFolder / "abdomen_example"
    files = {
        samples.ABDOMEN.ct.name: folder / "ct.nii.gz",
        samples.ABDOMEN.masks.name: folder / "seg_v2_117_fast.nii.gz",
    }

    def downloadFileIntoCache(self, uri, name, checksum=None):
        return str(files[name]) if name not in missing else "/nowhere/removed.nii.gz"

    logic = sys.modules["SampleData"].SampleDataLogic
    monkeypatch.setattr(logic, "downloadFileIntoCache", downloadFileIntoCache, raising=False)


def test_the_abdomen_comes_with_named_organs_beside_the_ct(samples, dataFolder, monkeypatch):
    give(samples, dataFolder, monkeypatch)
    volume, organs = samples.downloadSample("CTGLIPAbdomen")
    segmentation = organs.GetSegmentation()
    assert volume.GetImageData().GetDimensions() == (122, 101, 112)
    assert volume.GetStorageNode() is None
    assert segmentation.GetNumberOfSegments() == 61
    assert segmentation.GetSegment("kidney_left").GetName() == "left kidney"
    assert organs.GetName() == "CT-GLIP abdomen CT organs"
    display = volume.GetDisplayNode()
    assert (display.GetWindow(), display.GetLevel()) == (400, 40)


def test_masks_that_are_another_file_leave_the_ct_and_a_message(samples, dataFolder, monkeypatch):
    said = []
    monkeypatch.setattr(samples, "_say", said.append)
    give(samples, dataFolder, monkeypatch, missing={samples.ABDOMEN.masks.name})
    volume, organs = samples.downloadSample("CTGLIPAbdomen")
    assert volume.GetName() == "CT-GLIP abdomen CT"
    assert organs is None
    assert "is not the file that was expected (SHA-256)" in said[0]
    assert said[0].endswith("Choose another source of organs.")


def test_no_internet_is_an_error_that_says_so(samples, monkeypatch):
    def downloadFileIntoCache(self, uri, name, checksum=None):
        msg = "Failed to download"
        raise ValueError(msg)

    logic = sys.modules["SampleData"].SampleDataLogic
    monkeypatch.setattr(logic, "downloadFileIntoCache", downloadFileIntoCache, raising=False)
    with pytest.raises(samples.InputError, match=r"CTGLIP-abdomen-ct.nii.gz could not be downloaded.*load a CT of you"):
        samples.downloadSample("CTGLIPAbdomen")


def test_a_click_shows_an_error_as_a_dialog(samples, sources, monkeypatch):
    shown = []
    monkeypatch.setattr(slicer.util, "errorDisplay", lambda text, **options: shown.append(text))
    monkeypatch.setattr(samples, "_fetchIntoCache", lambda file: (_ for _ in ()).throw(samples.InputError("offline")))
    assert sources["CTGLIPAbdomen"].customDownloader(sources["CTGLIPAbdomen"]) == []
    assert shown == ["offline"]


def test_the_chest_is_fetched_by_the_library_in_a_child_process(samples, dataFolder, monkeypatch, tmp_path):
    small_chest(dataFolder, tmp_path / "chest_lidc_0001")
    monkeypatch.setenv("CTGLIP_DATA", str(tmp_path))
    volume, organs = samples.downloadSample("CTGLIPChest")
    assert volume.GetName() == "CT-GLIP chest CT"
    assert organs.GetSegmentation().GetSegment("heart").GetName() == "heart"


def test_a_child_that_fails_gives_its_message_alone(samples, tmp_path):
    code = "class InputError(Exception): pass\nraise InputError('The sample CT could not be fetched.')"
    with pytest.raises(samples.InputError, match=r"^The sample CT could not be fetched\.$"):
        samples._runWhileSlicerLives([sys.executable, "-c", code])


def test_an_unknown_name_is_refused_with_the_names(samples):
    with pytest.raises(samples.InputError, match="Expected one of CTGLIPChest, CTGLIPAbdomen, got 'Chest'"):
        samples.downloadSample("Chest")


def small_chest(dataFolder: Path, folder: Path) -> None:
    """A stand-in of the chest's three files, so that 35 MB need not be read: a phantom and the real list of names."""
    from patient import make_patient

    from CTGLIPLib.io import write_volume

    folder.mkdir()
    volume, organs = make_patient()
    write_volume(volume.array, volume.grid, folder / "ct.nii.gz")
    labels = (organs.layers[0] > 0).astype("uint8") * 51  # the id of the heart in that list
    write_volume(labels, volume.grid, folder / "seg_totalseg_v2.nii.gz")
    shutil.copy(dataFolder / "chest_lidc_0001" / "structures.csv", folder / "structures.csv")
