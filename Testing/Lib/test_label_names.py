"""Lists of organ names in every format, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from CTGLIPLib.errors import InputError, LabelError
from CTGLIPLib.label_names import image_stem, names_beside, read_names, whole_number

SPLEEN_LIVER = {1: "spleen", 5: "liver"}


def _file(tmp_path: Path, name: str, content: object) -> Path:
    path = tmp_path / name
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    "content",
    [
        {"1": "spleen", "5": "liver"},
        {"0": "background", "1": "spleen", "5": "liver"},
        {"spleen": 1, "liver": 5},
        {"background": 0, "spleen": 1, "liver": 5.0},
        {"labels": {"background": 0, "spleen": 1, "liver": 5}, "channel_names": {"0": "CT"}, "numTraining": 4},
        {"schema_version": 1, "labels": {"1": {"name": "spleen", "colour": [1, 2, 3]}, "5": {"name": "liver"}}},
        [{"id": 1, "name": "spleen"}, {"id": 5, "name": "liver"}],
        {"labels": [{"label_value": 1, "organ": "spleen"}, {"label_value": 5, "organ": "  liver "}]},
        ["spleen", "", "", "", "liver"],
        ["background", "spleen", "", "(none)", "", "liver"],
    ],
)
def test_json_in_every_shape_gives_the_name_of_each_id(tmp_path, content):
    assert read_names(_file(tmp_path, "names.json", content)) == SPLEEN_LIVER


@pytest.mark.parametrize(
    "text",
    [
        "id,name\n1,spleen\n5,liver\n",
        "\ufeffLabel Value;Organ\r\n1;spleen\r\n\r\n5;liver\r\n",
        "index\tname\n0\tbackground\n1\tspleen\n5\tliver\n",
        "label,name,volume\n1,spleen,200\n5,liver,1500\n",
        "label,value\nspleen,1\nliver,5\n",
        "group,original_idx,structure,id\norgans,1,spleen,1\nribs,1,liver,5\n",
        "original_idx,class\n1,spleen\n5,liver\n",
        'LabelValue,Name,Color_R,Color_G,Color_B\n1,"spleen",9,9,9\n5,"liver",1,2,3\n',
    ],
)
def test_csv_with_any_usual_header_gives_the_name_of_each_id(tmp_path, text):
    assert read_names(_file(tmp_path, "names.csv", text)) == SPLEEN_LIVER


def test_itk_snap_label_descriptions_are_read(tmp_path):
    text = (
        "################\n# ITK-SnAP Label Description File\n################\n"
        '    0     0    0    0        0  0  0    "Clear Label"\n'
        '    1   255    0    0        1  1  1    "left kidney"\n'
        '    7     0  255    0      0.5  1  0    "tumour (3 cm)"\n'
    )
    for name in ("a.txt", "a.label"):
        assert read_names(_file(tmp_path, name, text)) == {1: "left kidney", 7: "tumour (3 cm)"}


def test_slicer_colour_tables_are_read_without_unused_entries(tmp_path):
    colours = "0 Black 0 0 0 0\n1 spleen 157 108 162 255\n2 (none) 0 0 0 0\n5 liver 9 8 7 255\n"
    text = f"# Color table file x.ctbl\n# 4 values\n{colours}"
    assert read_names(_file(tmp_path, "x.ctbl", text)) == SPLEEN_LIVER


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("n.json", {"1": "spleen", "01": "liver"}, "id 1 is named twice, 'spleen' and 'liver'"),
        ("n.json", '{"1": "spleen", "1": "liver"}', "these keys occur twice: 1"),
        ("n.json", {"1": "Liver", "2": "liver"}, "ids 1 and 2 are both named 'liver'"),
        ("n.json", {"whole": [1, 2]}, 'each entry must be "id": "name"'),
        ("n.json", {"spleen": 1.5}, 'each entry must be "id": "name"'),
        ("n.json", {"spleen": True}, 'each entry must be "id": "name"'),
        ("n.json", {"1": None}, "the name of id 1 must be text, got None"),
        ("n.json", {"1": 2}, 'each entry must be "id": "name"'),
        ("n.json", {"-1": "spleen"}, "a whole number from 0, got '-1'"),
        ("n.json", {}, "it names no id but the background"),
        ("n.json", {"0": "background"}, "it names no id but the background"),
        ("n.json", "[1, 2]", "the name of id 1 must be text, got 1"),
        ("n.json", "3", "expected an object or a list, got int"),
        ("n.json", '{"1": "spleen"', "is not JSON .* line 1"),
        ("n.json", " \n", "it is empty"),
        ("n.csv", "id,name\n1,spleen\n1,liver\n", "id 1 is named twice"),
        ("n.csv", "id,name\n1,spleen\n2,liver\nx,colon\n", "a whole number from 0, got 'x' for 'colon'"),
        ("n.csv", "id,name\n1,spleen\n2.5,liver\n3,colon\n", "a whole number from 0, got '2.5'"),
        ("n.csv", "id,name\n", "a header .* but no rows"),
        ("n.csv", "1,spleen\n2,liver\n", "no column of ids"),
        ("n.csv", "id,volume\n1,2\n", "no column of names .* among id, volume"),
        ("n.txt", "Findings: none.\n", "line 1 is no ITK-SNAP label nor Slicer colour: 'Findings: none.'"),
        ("n.ctbl", "# only comments\n", "it names no id but the background"),
    ],
)
def test_unusable_lists_are_refused_with_the_reason(tmp_path, name, content, message):
    with pytest.raises(LabelError, match=rf"n\.\w+ cannot name the organs: .*{message}"):
        read_names(_file(tmp_path, name, content))


def test_files_that_cannot_be_read_are_refused(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        read_names(tmp_path / "none.json")
    with pytest.raises(InputError, match="cannot be read: Is a directory"):
        read_names(_folder(tmp_path / "folder.csv"))
    (tmp_path / "latin.csv").write_bytes("id,name\n1,f\xfc\xdf\n".encode("latin-1"))
    with pytest.raises(InputError, match="not UTF-8 text .byte 11.. Save it as UTF-8"):
        read_names(tmp_path / "latin.csv")
    with pytest.raises(InputError, match="x.xml is no list of names"):
        read_names(_file(tmp_path, "x.xml", "<a/>"))


def _folder(path: Path) -> Path:
    path.mkdir()
    return path


def test_the_list_under_the_same_stem_is_found_and_other_files_are_passed_over(tmp_path):
    label_map = tmp_path / "scan.1.nii.gz"
    assert names_beside(label_map) is None
    _file(tmp_path, "scan.json", {"1": "liver"})
    _file(tmp_path, "scan.1.json", {"Manufacturer": "A", "SliceThickness": 3})
    assert names_beside(label_map) is None
    listed = _file(tmp_path, "scan.1.csv", "id,name\n1,spleen\n")
    assert names_beside(label_map) == listed


def test_image_stems_lose_only_the_ending_of_an_image():
    names = ["liver.nii.gz", "a.b.seg.nrrd", "vertebrae_L1.NII", "x.mha", "plain"]
    assert [image_stem(Path("d") / name) for name in names] == ["liver", "a.b", "vertebrae_L1", "x", "plain"]


@pytest.mark.parametrize(
    ("value", "number"),
    [("5", 5), (" 5.0 ", 5), (5.0, 5), (-2, -2), (5.5, None), (True, None), ("", None), ("1e3", None)],
)
def test_whole_numbers_are_told_from_all_else(value, number):
    assert whole_number(value) == number


def test_the_ids_of_a_real_csv_are_those_in_its_label_map(data_folder):
    folder = data_folder / "chest_lidc_0001"
    names = read_names(folder / "structures.csv")
    used = np.unique(sitk.GetArrayViewFromImage(sitk.ReadImage(str(folder / "seg_totalseg_v2.nii.gz"))))
    assert len(names) == 118
    assert set(used.tolist()) - {0} <= set(names)
    assert (names[5], names[116], names[118]) == ("liver", "sternum", "costal_cartilages")
