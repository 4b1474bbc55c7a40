"""All findings that can be simulated, by their id in the abnormality catalogue."""

from __future__ import annotations

from ctglip_training.simulate import abdomen, chest, enlarge, focal, pancreas, pleura
from ctglip_training.simulate.patient import Finding

KIDNEYS = ("kidney_left", "kidney_right")
LOWER_LOBES = ("lung_lower_lobe_left", "lung_lower_lobe_right")
LOBES = ("lung_upper_lobe_left", "lung_upper_lobe_right", "lung_middle_lobe_right", *LOWER_LOBES)

_ALL = (
    Finding("fatty_liver", ("liver",), abdomen.fatty_liver),
    Finding("hepatic_cyst", ("liver",), focal.hepatic_cyst),
    Finding("hepatic_calcification", ("liver",), focal.calcification("hepatic_calcification")),
    Finding("liver_metastasis", ("liver",), focal.liver_metastases),
    Finding("hepatomegaly", ("liver",), enlarge.enlarged(enlarge.LIVER), moves_neighbours=True),
    Finding("gallstone", ("gallbladder",), abdomen.gallstone),
    Finding("renal_cyst", KIDNEYS, focal.renal_cyst),
    Finding("kidney_stone", KIDNEYS, abdomen.kidney_stone),
    Finding("splenic_calcification", ("spleen",), focal.calcification("splenic_calcification")),
    Finding("splenomegaly", ("spleen",), enlarge.enlarged(enlarge.SPLEEN), moves_neighbours=True),
    Finding("acute_pancreatitis", ("pancreas",), pancreas.acute_pancreatitis),
    Finding("pancreatic_duct_stone", ("pancreas",), pancreas.pancreatic_duct_stone),
    Finding("aortic_calcification", ("aorta",), abdomen.aortic_calcification),
    Finding("cardiomegaly", ("heart", "heart_myocardium"), enlarge.enlarged(enlarge.HEART), moves_neighbours=True),
    Finding("pulmonary_nodule", LOBES, chest.pulmonary_nodule),
    Finding("consolidation", LOBES, chest.consolidation),
    Finding("pneumonia", LOBES, chest.pneumonia),
    Finding("lung_opacity", LOBES, chest.ground_glass),
    Finding("emphysema", LOBES, chest.emphysema),
    Finding("atelectasis", LOBES, chest.atelectasis),
    Finding("pleural_effusion", LOWER_LOBES, pleura.pleural_effusion),
)

FINDINGS: dict[str, Finding] = {finding.id: finding for finding in _ALL}
