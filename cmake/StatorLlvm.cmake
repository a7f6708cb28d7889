# SPDX-License-Identifier: Apache-2.0
# LLVM 19, linked static into libstator, for the code-generation files alone.
find_package(LLVM 19.1 CONFIG REQUIRED)
llvm_map_components_to_libnames(
  STATOR_LLVM_LIBRARIES
  core
  support
  passes
  object
  target
  x86codegen
  x86desc
  x86info
  aarch64codegen
  aarch64desc
  aarch64info)
# The kernels' own tests run code without an engine around it.
llvm_map_components_to_libnames(STATOR_LLVM_TEST_LIBRARIES orcjit)
if(TARGET folder_backends_cpu_codegen)
  target_include_directories(folder_backends_cpu_codegen SYSTEM PRIVATE ${LLVM_INCLUDE_DIRS})
endif()
