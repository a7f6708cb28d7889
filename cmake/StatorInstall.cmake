# SPDX-License-Identifier: Apache-2.0
# What is installed: libraries, headers, a CMake package (find_package(stator)), the program; under
# scikit-build-core the same things inside the wheel.
include(CMakePackageConfigHelpers)
if(SKBUILD)
  set(library_dir stator/lib)
  set(include_dir stator/include)
  set(package_dir stator/lib/cmake/stator)
else()
  set(library_dir ${CMAKE_INSTALL_LIBDIR})
  set(include_dir ${CMAKE_INSTALL_INCLUDEDIR})
  set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/stator)
endif()
install(TARGETS stator stator_runtime EXPORT stator LIBRARY DESTINATION ${library_dir})
install(DIRECTORY include/stator DESTINATION ${include_dir})
install(EXPORT stator NAMESPACE stator:: DESTINATION ${package_dir} FILE statorTargets.cmake)
file(WRITE ${CMAKE_CURRENT_BINARY_DIR}/statorConfig.cmake
     "include(\"\${CMAKE_CURRENT_LIST_DIR}/statorTargets.cmake\")\n")
write_basic_package_version_file(${CMAKE_CURRENT_BINARY_DIR}/statorConfigVersion.cmake
                                 COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/statorConfig.cmake
              ${CMAKE_CURRENT_BINARY_DIR}/statorConfigVersion.cmake DESTINATION ${package_dir})
