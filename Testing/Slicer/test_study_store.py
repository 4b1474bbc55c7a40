"""Files of studies: written once, dropped when of no use, removed at the end."""

from __future__ import annotations

import gc

import pytest
from fake_worker import FakeScene

pytest.importorskip("slicer")


@pytest.fixture
def fakes():
    return FakeScene()


@pytest.fixture
def store(slicerApp, fakes):
    from CTGLIPSlicer.study_store import StudyStore

    made = StudyStore(fakes.export, fakes.contentKey, fakes.find)
    yield made
    made.close()


def inputs(volume, segmentation=None, **options):
    from CTGLIPSlicer.session_types import StudyInputs

    return StudyInputs(volume, segmentation, **options)


def add(store, asked):
    """The record of a study whose files are written in one go."""
    with pytest.raises(StopIteration) as end:
        next(store.write(asked))
    return end.value.value


def test_an_unchanged_study_is_found_and_a_changed_one_is_not(store, fakes):
    asked = inputs(fakes.add("v1"), fakes.add("s1"))
    record = add(store, asked)
    assert store.find(asked) is record
    asked.segmentationNode.content = 1
    assert store.find(asked) is None


def test_two_volumes_keep_files_of_their_own(store, fakes):
    first, second = inputs(fakes.add("v1")), inputs(fakes.add("v2"))
    records = [add(store, first), add(store, second)]
    assert store.find(first) is records[0]
    assert store.find(second) is records[1]
    assert records[0].folder != records[1].folder


def test_organs_of_another_finder_are_another_study(store, fakes):
    volume = fakes.add("v1")
    add(store, inputs(volume, segmenter="totalsegmentator"))
    assert store.find(inputs(volume, segmenter="own", model="a")) is None
    own = add(store, inputs(volume, segmenter="own", model="a"))
    assert store.find(inputs(volume, segmenter="own", model="b")) is None
    assert store.find(inputs(volume, segmenter="own", model="a")) is own


def test_another_model_reads_the_same_files(store, fakes):
    asked = inputs(fakes.add("v1"), fakes.add("s1"), model="a")
    record = add(store, asked)
    assert store.find(inputs(asked.volumeNode, asked.segmentationNode, model="b")) is record


def test_the_request_has_all_that_the_child_needs(store, fakes):
    asked = inputs(
        fakes.add("v1", "a/b\\c"), fakes.add("s1", "my organs"), model="m", device="cpu", textEncoderFolder="/texts"
    )
    record = add(store, asked)
    assert record.request(asked) == {
        "ct": str(record.folder / "ct.nii"),
        "segmentation": str(record.folder / "organs.nii"),
        "names": str(record.folder / "organs.json"),
        "segmenter": "totalsegmentator",
        "model": "m",
        "device": "cpu",
        "text_encoder_folder": "/texts",
        "name": "a_b_c",
        "segmentation_name": "my organs",
        "organs_path": None,
    }


def test_organs_that_the_child_found_are_given_from_then_on(store, fakes):
    asked = inputs(fakes.add("v1"))
    record = add(store, asked)
    before = record.request(asked)
    record.organs.write_text("organs")
    after = record.request(asked)
    assert (before["segmentation"], before["organs_path"]) == (None, str(record.organs))
    assert (after["segmentation"], after["names"], after["organs_path"]) == (str(record.organs), None, None)


def test_an_imported_segmentation_stands_for_the_found_organs_until_it_is_edited(store, fakes):
    asked = inputs(fakes.add("v1"))
    record = add(store, asked)
    organs = fakes.add("s1")
    store.adopt(asked, organs)
    withNode = inputs(asked.volumeNode, organs)
    assert store.find(withNode) is record
    assert store.found(record).node is organs
    organs.content = 1
    assert store.find(withNode) is None
    fakes.remove(organs)
    assert store.found(record).node is None


def test_the_study_asked_longest_ago_goes_first(store, fakes):
    asked = [inputs(fakes.add(f"v{n}")) for n in range(5)]
    records = [add(store, one) for one in asked[:4]]
    store.find(asked[0])
    add(store, asked[4])
    assert store.find(asked[1]) is None
    assert not records[1].folder.exists()
    assert all(store.find(asked[n]) is not None for n in (0, 2, 3, 4))


def test_files_of_a_removed_volume_are_removed(store, fakes):
    asked = inputs(fakes.add("v1"), fakes.add("s1"))
    record = add(store, asked)
    store.dropGone()
    assert record.folder.is_dir()
    assert store.holds(asked)
    fakes.remove(asked.volumeNode)
    store.dropGone()
    assert not record.folder.exists()
    assert not store.holds(asked)


def test_another_node_under_the_same_id_is_not_the_study(store, fakes):
    asked = inputs(fakes.add("v1"))
    fakes.add("v1")
    assert not store.holds(asked)


def test_nothing_is_left_of_files_that_could_not_be_written(store, fakes):
    from CTGLIPLib.errors import GeometryError

    fakes.problem = GeometryError("harden the transform")
    with pytest.raises(GeometryError):
        next(store.write(inputs(fakes.add("v1"))))
    assert list(store.folder.iterdir()) == []


def test_files_are_in_the_temporary_folder_that_slicers_settings_name(store, fakes):
    import slicer

    next(store.write(inputs(fakes.add("v1"))), None)
    assert str(store.folder.parent) == slicer.app.temporaryPath


def test_nothing_is_left_of_files_whose_writing_is_stopped(store, fakes):
    writing = store.write(inputs(fakes.add("v1")))
    fakes.steps = 2
    next(writing)
    assert len(list(store.folder.iterdir())) == 1
    writing.close()
    assert list(store.folder.iterdir()) == []


def test_a_study_that_changes_while_it_is_written_is_another_one(store, fakes):
    asked = inputs(fakes.add("v1"))
    fakes.steps = 1
    writing = store.write(asked)
    next(writing)
    asked.volumeNode.content += 1
    with pytest.raises(StopIteration):
        next(writing)
    assert store.find(asked) is None


def test_closing_removes_the_folder_and_the_store_can_be_used_again(store, fakes):
    asked = inputs(fakes.add("v1"))
    add(store, asked)
    folder = store.folder
    store.close()
    assert not folder.exists()
    assert store.folder is None
    assert store.find(asked) is None
    assert add(store, asked).folder.is_dir()


def test_the_folder_goes_with_the_store(slicerApp, fakes):
    from CTGLIPSlicer.study_store import StudyStore

    store = StudyStore(fakes.export, fakes.contentKey, fakes.find)
    add(store, inputs(fakes.add("v1")))
    folder = store.folder
    del store
    gc.collect()
    assert not folder.exists()
