"""`slicer.modules`: the loaded modules by lower-case name, with their real logics.

In Slicer a loadable module is a C++ plugin; of it only the logic is in slicer-core. `slicer.modules.colors` is
therefore a `Module` with a name and a logic. Others do not exist: `slicer.modules.xyz` raises AttributeError.
"""

from __future__ import annotations

import types
from pathlib import Path

import slicer

LOGICS = {
    "Cameras": "vtkSlicerCamerasModuleLogic",
    "Colors": "vtkSlicerColorLogic",
    "CropVolume": "vtkSlicerCropVolumeLogic",
    "Data": "vtkSlicerDataModuleLogic",
    "Markups": "vtkSlicerMarkupsLogic",
    "Models": "vtkSlicerModelsLogic",
    "Plots": "vtkSlicerPlotsLogic",
    "Segmentations": "vtkSlicerSegmentationsModuleLogic",
    "Sequences": "vtkSlicerSequencesLogic",
    "SubjectHierarchy": "vtkSlicerSubjectHierarchyModuleLogic",
    "Tables": "vtkSlicerTablesLogic",
    "Terminologies": "vtkSlicerTerminologiesModuleLogic",
    "Texts": "vtkSlicerTextsLogic",
    "Transforms": "vtkSlicerTransformLogic",
    "Units": "vtkSlicerUnitsLogic",
    "Volumes": "vtkSlicerVolumesLogic",
    "VolumeRendering": "vtkSlicerVolumeRenderingLogic",
}


class Module:
    """A loadable module: its name and its logic."""

    def __init__(self, name: str, logic: slicer.vtkMRMLAbstractLogic):
        self.name = name
        self.title = name
        self.path = ""
        self._logic = logic

    def logic(self) -> slicer.vtkMRMLAbstractLogic:
        """The module's real logic."""
        return self._logic

    def widgetRepresentation(self) -> None:
        """No widget: those of C++ modules are not in slicer-core."""


class Modules(types.SimpleNamespace):
    """The namespace `slicer.modules`."""

    def __getattr__(self, name: str) -> object:
        known = sorted(key for key, value in vars(self).items() if hasattr(value, "logic"))
        msg = f"slicer.modules has no {name!r}; the harness has {', '.join(known)}"
        raise AttributeError(msg)

    def byName(self, name: str) -> object | None:
        """The module of exactly that name, as Slicer's module manager finds it, or None."""
        module = vars(self).get(name.lower())
        return module if getattr(module, "name", None) == name else None


def createModules(applicationLogic: slicer.vtkSlicerApplicationLogic, share: Path) -> Modules:
    """All modules of `LOGICS`, their logics joined to the application's scene.

    Args:
        applicationLogic: owns the scene; learns the logics under their exact names.
        share: folder that the logics read their files from.
    """
    modules = Modules()
    for name, className in LOGICS.items():
        logic = getattr(slicer, className)()
        if logic.IsA("vtkSlicerModuleLogic"):
            logic.SetModuleShareDirectory(str(share))
        logic.SetMRMLApplicationLogic(applicationLogic)
        logic.SetMRMLScene(applicationLogic.GetMRMLScene())
        applicationLogic.SetModuleLogic(name, logic)
        setattr(modules, name.lower(), Module(name, logic))
    return modules
