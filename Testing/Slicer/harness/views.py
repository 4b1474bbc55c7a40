"""Offscreen slice and 3D views made of Slicer's real displayable managers.

A view must exist before a colour-legend node for the legend to appear in it. Pictures are radiological, as Slicer
shows them: the patient's right on the left of an axial slice.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import slicer
import vtk
import vtkmodules.vtkRenderingContextOpenGL2  # noqa: F401  registers VTK's factory, as the next two
import vtkmodules.vtkRenderingFreeType  # noqa: F401
import vtkmodules.vtkRenderingOpenGL2  # noqa: F401
from vtkmodules.util.numpy_support import vtk_to_numpy

MANAGERS_3D = (
    "vtkMRMLCameraDisplayableManager",
    "vtkMRMLViewDisplayableManager",
    "vtkMRMLModelDisplayableManager",
    "vtkMRMLSegmentationsDisplayableManager3D",
    "vtkMRMLMarkupsDisplayableManager",
    "vtkMRMLOrientationMarkerDisplayableManager",
    "vtkMRMLColorLegendDisplayableManager",
)
MANAGERS_2D = (
    "vtkMRMLModelSliceDisplayableManager",
    "vtkMRMLSegmentationsDisplayableManager2D",
    "vtkMRMLMarkupsDisplayableManager",
    "vtkMRMLOrientationMarkerDisplayableManager",
    "vtkMRMLRulerDisplayableManager",
    "vtkMRMLColorLegendDisplayableManager",
)


class View:
    """A render window with displayable managers."""

    def __init__(self, factory: type, managers: tuple[str, ...], size: tuple[int, int]):
        self.renderer = vtk.vtkRenderer()
        self.window = vtk.vtkRenderWindow()
        self.window.SetOffScreenRendering(1)
        self.window.ShowWindowOff()
        self.window.SetSize(*size)
        self.window.SetMultiSamples(0)
        self.window.AddRenderer(self.renderer)
        self.interactor = vtk.vtkRenderWindowInteractor()
        self.interactor.SetRenderWindow(self.window)
        self.interactor.Initialize()
        shared = factory.GetInstance()
        for name in managers:
            if not shared.IsDisplayableManagerRegistered(name):
                shared.RegisterDisplayableManager(name)
        self.managers = slicer.vtkMRMLDisplayableManagerGroup()
        self.managers.SetRenderer(self.renderer)
        self.managers.Initialize(shared, self.renderer)

    def image(self) -> np.ndarray:
        """The rendered picture, (height, width, 3) uint8, top row first."""
        self.window.Render()
        grab = self._grab()
        picture = grab.GetOutput()
        width, height, _ = picture.GetDimensions()
        return vtk_to_numpy(picture.GetPointData().GetScalars()).reshape(height, width, -1)[::-1].copy()

    def png(self, path: Path | str) -> None:
        """Write the rendered picture."""
        self.window.Render()
        writer = vtk.vtkPNGWriter()
        writer.SetFileName(str(path))
        grab = self._grab()  # kept: an output port does not keep its filter alive
        writer.SetInputConnection(grab.GetOutputPort())
        writer.Write()

    def close(self) -> None:
        """Let go of the scene and the window."""
        self.managers.SetMRMLDisplayableNode(None)
        self.managers = None
        self.window.Finalize()

    def _grab(self) -> vtk.vtkWindowToImageFilter:
        grab = vtk.vtkWindowToImageFilter()
        grab.SetInput(self.window)
        grab.ReadFrontBufferOff()
        grab.Update()
        return grab


class ThreeDView(View):
    """A 3D view with its view node and camera."""

    def __init__(self, name: str = "1", size: tuple[int, int] = (400, 400)):
        super().__init__(slicer.vtkMRMLThreeDViewDisplayableManagerFactory, MANAGERS_3D, size)
        application = slicer.app.applicationLogic()
        self.logic = slicer.vtkMRMLViewLogic()
        self.logic.SetMRMLApplicationLogic(application)
        application.GetViewLogics().AddItem(self.logic)
        self.logic.SetMRMLScene(slicer.mrmlScene)
        self.node = self.logic.AddViewNode(name)
        self.managers.SetMRMLDisplayableNode(self.node)
        self.renderer.SetUseDepthPeeling(True)

    def cameraNode(self) -> slicer.vtkMRMLCameraNode:
        """The camera's node."""
        return self.managers.GetDisplayableManagerByClassName("vtkMRMLCameraDisplayableManager").GetCameraNode()

    def nodes(self) -> list[slicer.vtkMRMLNode]:
        """Nodes that belong to the view."""
        return [node for node in (self.node, self.cameraNode()) if node is not None]

    def fit(self) -> None:
        """Look from anterior at everything visible, without the box."""
        self.node.SetBoxVisible(False)
        self.node.SetAxisLabelsVisible(False)
        self.window.Render()
        self.cameraNode().RotateTo(slicer.vtkMRMLCameraNode.Anterior)
        self.renderer.ResetCamera()
        self.renderer.ResetCameraClippingRange()

    def close(self) -> None:
        """Also leave the application logic's list."""
        slicer.app.applicationLogic().GetViewLogics().RemoveItem(self.logic)
        self.logic.SetMRMLScene(None)
        super().close()


class SliceView(View):
    """A slice view with its slice node, composite node and slice logic."""

    def __init__(self, name: str = "Red", size: tuple[int, int] = (400, 400), orientation: str | None = None):
        super().__init__(slicer.vtkMRMLSliceViewDisplayableManagerFactory, MANAGERS_2D, size)
        self.renderer.GetActiveCamera().ParallelProjectionOn()
        self._mapper = vtk.vtkImageMapper()
        self._mapper.SetColorWindow(255)
        self._mapper.SetColorLevel(127.5)
        actor = vtk.vtkActor2D()
        actor.SetMapper(self._mapper)
        actor.GetProperty().SetDisplayLocationToBackground()
        self.renderer.AddViewProp(actor)
        application = slicer.app.applicationLogic()
        self.logic = slicer.vtkMRMLSliceLogic()
        self.logic.SetMRMLApplicationLogic(application)
        application.GetSliceLogics().AddItem(self.logic)
        self.logic.SetMRMLScene(slicer.mrmlScene)
        self.node = self.logic.AddSliceNode(name)
        self.managers.SetMRMLDisplayableNode(self.node)
        self.node.SetOrientation(orientation or {"Green": "Coronal", "Yellow": "Sagittal"}.get(name, "Axial"))
        self.logic.ResizeSliceNode(*size)

    @property
    def compositeNode(self) -> slicer.vtkMRMLSliceCompositeNode:
        """What the layers show."""
        return self.logic.GetSliceCompositeNode()

    def nodes(self) -> list[slicer.vtkMRMLNode]:
        """Nodes that belong to the view."""
        logic = self.logic
        own = (logic.GetSliceModelNode(), logic.GetSliceModelTransformNode(), logic.GetSliceDisplayNode())
        return [node for node in (self.node, self.compositeNode, *own) if node is not None]

    def show(self, volume: slicer.vtkMRMLVolumeNode | None) -> None:
        """Show that volume as background, whole."""
        self.compositeNode.SetBackgroundVolumeID(volume.GetID() if volume else None)
        self.logic.FitSliceToAll()

    def image(self) -> np.ndarray:
        """The rendered picture."""
        self._mapper.SetInputConnection(self.logic.GetImageDataConnection())
        return super().image()

    def png(self, path: Path | str) -> None:
        """Write the rendered picture."""
        self._mapper.SetInputConnection(self.logic.GetImageDataConnection())
        super().png(path)

    def pixelOf(self, ras: tuple[float, float, float]) -> tuple[int, int]:
        """(row, column) of the picture where a point lies, projected onto the slice."""
        toXy = vtk.vtkMatrix4x4()
        vtk.vtkMatrix4x4.Invert(self.node.GetXYToRAS(), toXy)
        column, row, *_ = toXy.MultiplyPoint((*ras, 1.0))
        return round(self.window.GetSize()[1] - 1 - row), round(column)

    def close(self) -> None:
        """Also leave the application logic's list."""
        slicer.app.applicationLogic().GetSliceLogics().RemoveItem(self.logic)
        self.logic.SetMRMLScene(None)  # else it makes its nodes anew when they are removed
        super().close()
