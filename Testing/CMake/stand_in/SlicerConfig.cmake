# Stands for the CMake package of a Slicer build in our tests: find_package(Slicer) finds this file. It builds nothing; it
# checks what an extension asks for, puts its files where Slicer would, and runs its tests on Testing/Slicer/harness.
# The facts are those of Slicer 5.12's CMake/ folder; all of this is our own.
#
# To be set by the caller: SLICER_STAND_IN_PYTHON, the Python that has slicer-core and PySide6.

if(NOT SLICER_STAND_IN_PYTHON)
  message(FATAL_ERROR "Set SLICER_STAND_IN_PYTHON to the Python that has slicer-core and PySide6.")
endif()

set(Slicer_VERSION 5.12.0)
set(Slicer_USE_PYTHONQT ON)
set(Slicer_QTSCRIPTEDMODULES_LIB_DIR lib/Slicer-5.12/qt-scripted-modules)
set(Slicer_INSTALL_QTSCRIPTEDMODULES_LIB_DIR ${Slicer_QTSCRIPTEDMODULES_LIB_DIR})
set(Slicer_USE_FILE ${CMAKE_CURRENT_LIST_DIR}/UseSlicer.cmake)
set(Slicer_EXTENSION_GENERATE_CONFIG ${CMAKE_CURRENT_LIST_DIR}/ExtensionGenerateConfig.cmake)
set(Slicer_EXTENSION_CPACK ${CMAKE_CURRENT_LIST_DIR}/ExtensionCPack.cmake)
set(Slicer_FOUND TRUE)
