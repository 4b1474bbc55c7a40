"""`slicer.app.layoutManager()`: three slice views and a 3D view, as widgets that show their rendered pictures."""

from __future__ import annotations

import slicer
from PySide6 import QtGui, QtWidgets

from harness.views import SliceView, ThreeDView, View

SLICES = ("Red", "Green", "Yellow")
SIZE = (320, 320)


class _SliceController:
    """Stands for qMRMLSliceControllerWidget."""

    def __init__(self, view: SliceView):
        self._view = view

    def fitSliceToBackground(self) -> None:
        """Show the whole background volume."""
        self._view.logic.FitSliceToBackground()

    def setSliceOffsetValue(self, offset: float) -> None:
        """Move the slice."""
        self._view.logic.SetSliceOffset(offset)


class ViewWidget(QtWidgets.QLabel):
    """Shows the picture of a view."""

    def __init__(self, view: View):
        super().__init__()
        self.view = view
        self.setFixedSize(*view.window.GetSize())

    def forceRender(self) -> None:
        """Render now and show the picture."""
        picture = self.view.image()
        height, width, _ = picture.shape
        image = QtGui.QImage(picture.data, width, height, 3 * width, QtGui.QImage.Format_RGB888)
        self.setPixmap(QtGui.QPixmap.fromImage(image))

    scheduleRender = forceRender

    def renderWindow(self) -> object:
        """VTK's window."""
        return self.view.window


class SliceWidget(ViewWidget):
    """Stands for qMRMLSliceWidget and its qMRMLSliceView."""

    def sliceLogic(self) -> slicer.vtkMRMLSliceLogic:
        """The real slice logic."""
        return self.view.logic

    def mrmlSliceNode(self) -> slicer.vtkMRMLSliceNode:
        """The slice node."""
        return self.view.node

    def mrmlSliceCompositeNode(self) -> slicer.vtkMRMLSliceCompositeNode:
        """What the layers show."""
        return self.view.compositeNode

    def sliceController(self) -> _SliceController:
        """The bar above the view."""
        return _SliceController(self.view)

    def sliceView(self) -> SliceWidget:
        """The view in the widget: itself."""
        return self

    def fitSliceToBackground(self) -> None:
        """Show the whole background volume."""
        self.view.logic.FitSliceToBackground()


class ThreeDWidget(ViewWidget):
    """Stands for qMRMLThreeDWidget and its qMRMLThreeDView."""

    def threeDView(self) -> ThreeDWidget:
        """The view in the widget: itself."""
        return self

    def mrmlViewNode(self) -> slicer.vtkMRMLViewNode:
        """The view node."""
        return self.view.node

    def cameraNode(self) -> slicer.vtkMRMLCameraNode:
        """The camera's node."""
        return self.view.cameraNode()

    def resetFocalPoint(self) -> None:
        """Look at the middle of everything visible."""
        self.view.fit()

    resetCamera = resetFocalPoint


class LayoutManager(QtWidgets.QWidget):
    """Stands for qSlicerLayoutManager."""

    tableViewCount = 0
    plotViewCount = 0
    threeDViewCount = 1

    def __init__(self, size: tuple[int, int] = SIZE):
        super().__init__()
        self._slices = {name: SliceWidget(SliceView(name, size)) for name in SLICES}
        self._threeD = ThreeDWidget(ThreeDView("1", size))
        self._layout = slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpView
        grid = QtWidgets.QGridLayout(self)
        grid.setSpacing(2)
        for number, widget in enumerate(
            (self._slices["Red"], self._threeD, self._slices["Green"], self._slices["Yellow"])
        ):
            grid.addWidget(widget, number // 2, number % 2)
        slicer.app.processEvents()

    def sliceViewNames(self) -> list[str]:
        """Names of the slice views."""
        return list(self._slices)

    def sliceWidget(self, name: str) -> SliceWidget | None:
        """The slice widget of that name, None as in Slicer for an unknown one."""
        return self._slices.get(name)

    def threeDWidget(self, index: int) -> ThreeDWidget | None:
        """The 3D widget of that number."""
        return self._threeD if index == 0 else None

    def mrmlSliceLogics(self) -> object:
        """The slice logics, a vtkCollection."""
        return slicer.app.applicationLogic().GetSliceLogics()

    def activeMRMLThreeDViewNode(self) -> slicer.vtkMRMLViewNode:
        """The 3D view's node."""
        return self._threeD.mrmlViewNode()

    def resetSliceViews(self) -> None:
        """Fit every slice view."""
        for widget in self._slices.values():
            widget.fitSliceToBackground()

    def resetThreeDViews(self) -> None:
        """Fit the 3D view."""
        self._threeD.resetFocalPoint()

    def setLayout(self, layout: int) -> None:
        """Choose a layout; here it is remembered only."""
        self._layout = layout

    @property
    def layout(self) -> int:
        """The layout."""
        return self._layout

    def render(self) -> None:
        """Render every view now (harness only)."""
        for widget in (*self._slices.values(), self._threeD):
            widget.forceRender()

    def nodeIds(self) -> set[str]:
        """Ids of the views' nodes (harness only)."""
        widgets = (*self._slices.values(), self._threeD)
        return {node.GetID() for widget in widgets for node in widget.view.nodes()}

    def close(self) -> None:
        """Close the views and remove their nodes (harness only)."""
        nodeIds = self.nodeIds()
        for widget in (*self._slices.values(), self._threeD):
            widget.view.close()
        for nodeId in nodeIds:
            node = slicer.mrmlScene.GetNodeByID(nodeId)
            if node is not None:
                slicer.mrmlScene.RemoveNode(node)
        self.deleteLater()
