# Included through ${Slicer_EXTENSION_CPACK}, last: writes what was asked for, which the tests read.
get_property(steps GLOBAL PROPERTY SLICER_STAND_IN_STEPS)
if(NOT "${steps}" STREQUAL "config")
  slicer_stand_in_refuse("the packaging comes once, after the extension's configuration")
endif()
set_property(GLOBAL APPEND PROPERTY SLICER_STAND_IN_STEPS cpack)
get_property(modules GLOBAL PROPERTY SLICER_STAND_IN_MODULES)
string(REPLACE ";" " " modules "${modules}")
file(WRITE ${CMAKE_BINARY_DIR}/extension.txt "\
name ${PROJECT_NAME}
modules ${modules}
category ${EXTENSION_CATEGORY}
depends ${EXTENSION_DEPENDS}
")
