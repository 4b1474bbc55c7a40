"""Names decide which organ a label is: their sources, their rank, and what is refused."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import nibabel
import numpy as np
import pytest
from nibabel.nifti1 import Nifti1Extension

from CTGLIPLib.errors import LabelError
from CTGLIPLib.label_values import used_ids, whole_labels
from CTGLIPLib.nifti_names import names_in_nifti
from CTGLIPLib.organs import ORGANS
from CTGLIPLib.segmentation_names import (
    VERSION_NAMES,
    names_of_label_map,
    open_vocabulary_warnings,
    organ_names,
    vocabulary_name,
    vocabulary_of,
)

MAP = Path("folder") / "labels.nii.gz"


def _nifti(path: Path, xml: str | None, kind: type = nibabel.Nifti1Image) -> Path:
    image = kind(np.ones((2, 3, 4), np.uint8), np.eye(4))
    if xml is not None:
        image.header.extensions.append(Nifti1Extension(0, xml.encode()))
    nibabel.save(image, path)
    return path


def _xml(labels: dict[int, str]) -> str:
    rows = "".join(f'<Label Key="{key}" Red="1.0"><![CDATA[{name}]]></Label>\n' for key, name in labels.items())
    table = f'<VolumeInformation Index="0"><LabelTable>{rows}</LabelTable></VolumeInformation>'
    return f'<?xml version="1.0" encoding="UTF-8"?> <CaretExtension>{table}</CaretExtension>\n  '


@pytest.mark.parametrize("kind", [nibabel.Nifti1Image, nibabel.Nifti2Image])
@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
def test_names_in_a_nifti_header_are_read(tmp_path, kind, ending):
    names = {1: "spleen", 300: "foie & rate <ä>"}
    assert names_in_nifti(_nifti(tmp_path / f"a{ending}", _xml({0: "background"} | names), kind)) == names


@pytest.mark.parametrize(
    "xml", [None, "<AFNI_attributes/>", "<CaretExtension><Label Key='1'></CaretExtension>", _xml({})]
)
def test_a_nifti_header_without_usable_names_names_nothing(tmp_path, xml):
    assert names_in_nifti(_nifti(tmp_path / "a.nii.gz", xml)) == {}


def test_a_big_endian_header_is_read_too(tmp_path):
    text = _xml({4: "liver"}).encode()
    header = bytearray(struct.pack(">i", 348)) + bytearray(348)
    header[108:112] = struct.pack(">f", 352 + len(text))
    path = tmp_path / "a.nii"
    path.write_bytes(bytes(header[:352]) + text)
    assert names_in_nifti(path) == {4: "liver"}


@pytest.mark.parametrize("content", [b"", b"\0\0", b"\x1f\x8bnot gzip", b"x" * 600])
def test_a_broken_nifti_names_nothing(tmp_path, content):
    (tmp_path / "a.nii").write_bytes(content)
    assert names_in_nifti(tmp_path / "a.nii") == {}


def test_the_versions_have_the_official_names(data_folder):
    maps = json.loads((data_folder / "totalsegmentator_class_maps.json").read_text())
    official = {key: {int(number): name for number, name in maps[key].items()} for key in maps}
    assert sorted(map(len, official.values())) == [104, 117]
    for names in official.values():
        version = "totalsegmentator_v1" if len(names) == 104 else "totalsegmentator_v2"
        assert VERSION_NAMES[version] == names
        assert vocabulary_of(names.values()) == version


def test_every_vocabulary_name_is_found_under_its_readable_form_too():
    assert [vocabulary_name(organ.readable) for organ in ORGANS] == [organ.name for organ in ORGANS]
    assert [vocabulary_name(text) for text in ("Left  Kidney", "LIVER", "livertumor1", "lung")] == [
        "kidney_left",
        "liver",
        "livertumor1",
        "lung",
    ]


def test_given_names_decide_alone(tmp_path):
    (tmp_path / "labels.json").write_text('{"1": "spleen"}')
    chosen = names_of_label_map(tmp_path / "labels.nii.gz", [1], {1: "colon"}, {1: "liver", 9: "skin"}, None)
    assert (chosen.names[1], chosen.origin) == ("liver", "the given list of names")


def test_names_are_taken_from_the_header_then_from_the_list_beside(tmp_path):
    label_map = tmp_path / "labels.nii.gz"
    (tmp_path / "labels.csv").write_text("id,name\n1,spleen\n2,liver\n")
    assert names_of_label_map(label_map, [1, 2], {}, None, None).origin == "labels.csv"
    assert names_of_label_map(label_map, [1], {1: "Spleen"}, None, None).origin == "the header of labels.nii.gz"


def test_sources_that_contradict_each_other_are_refused(tmp_path):
    label_map = tmp_path / "labels.nii.gz"
    (tmp_path / "labels.csv").write_text("id,name\n1,spleen\n2,liver\n")
    with pytest.raises(LabelError, match=r"Id 2 of labels.nii.gz is colon in the header of .* but liver in labels.csv"):
        names_of_label_map(label_map, [1, 2], {1: "spleen", 2: "colon"}, None, None)
    with pytest.raises(LabelError, match="Id 2 of .* is kidney_right in TotalSegmentator v2 but liver in labels.csv"):
        names_of_label_map(label_map, [2], {}, None, "totalsegmentator_v2")
    assert (
        names_of_label_map(label_map, [1], {1: "spleen", 2: "colon"}, None, "totalsegmentator_v1").names[1] == "spleen"
    )


def test_names_and_a_version_together_are_refused():
    with pytest.raises(LabelError, match="either the names .* or the TotalSegmentator version"):
        names_of_label_map(MAP, [1], {}, {1: "liver"}, "totalsegmentator_v1")


def test_ids_without_a_name_are_refused():
    with pytest.raises(LabelError, match=r"ids that the given list of names does not name: 7, 9\. Add"):
        names_of_label_map(MAP, [1, 7, 9], {}, {1: "liver"}, None)


@pytest.mark.parametrize(
    ("used", "message"),
    [
        (
            [1, 7, 104],
            r"3 labels .ids 1, 7, 104.* fit TotalSegmentator v1 and v2 .7 is aorta in v1, pancreas in v2.: .*v1\|v2",
        ),
        (
            [1, 2],
            r"fit TotalSegmentator v1 and v2: say which with --label-map-version v1\|v2; or name them with --names",
        ),
        ([1, 110], "fit TotalSegmentator v2 only: if it made the map, say --label-map-version v2"),
        ([1, 118], r"fit no TotalSegmentator version .v1 ends at 104, v2 at 117.; .* beside it as labels.json"),
        (list(range(1, 40)), r"39 labels .ids 1, 2, 3, 4, 5, 6, 7, 8, \.\.\. 39."),
    ],
)
def test_a_map_without_names_is_refused_with_the_choices(used, message):
    with pytest.raises(LabelError, match=message):
        names_of_label_map(MAP, used, {}, None, None)


def test_a_file_beside_that_is_no_list_is_mentioned(tmp_path):
    (tmp_path / "labels.json").write_text('{"Modality": "CT"}')
    with pytest.raises(LabelError, match="labels.json beside it is no list of names"):
        names_of_label_map(tmp_path / "labels.nii.gz", [1], {}, None, None)


def test_two_labels_that_are_the_same_organ_are_refused():
    with pytest.raises(
        LabelError, match=r"id 3 .'kidney_left'. and id 9 .'Left kidney'. are the same organ, kidney_left"
    ):
        organ_names([("id 3", "kidney_left"), ("id 4", "liver"), ("id 9", "Left kidney")])


def test_names_outside_the_vocabulary_are_kept_and_reported():
    names = organ_names([("id 1", "livertumor1"), ("id 2", "Liver"), ("id 3", "skin")])
    assert names == ("livertumor1", "liver", "skin")
    assert open_vocabulary_warnings(names) == (
        "Not in the organ vocabulary, asked as open vocabulary: livertumor1, skin.",
    )
    assert open_vocabulary_warnings(["liver"]) == ()
    assert vocabulary_of(names) == "names"


def test_whole_numbers_in_floats_are_labels(rng):
    labels = rng.integers(0, 300, (5, 4, 3))
    for dtype in (np.float64, np.float32, np.int16, np.int64, np.uint16):
        assert np.array_equal(whole_labels(labels.astype(dtype), "a"), labels)
    assert used_ids(whole_labels(np.asfortranarray(labels), "a")) == sorted(set(labels.ravel().tolist()) - {0})


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (-1.0, r"a.nii is no label map: its values run from -1 to 2, .* is this the CT\?"),
        (70000.0, "its values run from 0 to 70000, but ids go from 0 to 65535"),
        (np.nan, "its values run from nan to nan"),
        (0.25, "values that are not whole, such as 0.25"),
    ],
)
def test_values_that_cannot_be_labels_are_refused(value, message):
    with pytest.raises(LabelError, match=message):
        whole_labels(np.array([[[0, 1, 2, value]]]), "a.nii")
