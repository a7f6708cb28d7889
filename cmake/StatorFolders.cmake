# SPDX-License-Identifier: Apache-2.0
#
# Every folder of src/ is one object library, folder_<name with / as _>. What it may include is
# read from src/layers.txt: the drawing is the build. A folder's tests, test/*_test.cpp, are one
# program test_<folder>, linked with nothing but what the folder may use.

# Flags of everything that is ours.
function(stator_compile_options target)
  target_compile_options(${target} PRIVATE -Wall -Wextra)
  if(CMAKE_CXX_COMPILER_ID STREQUAL GNU)
    # False alarms of GCC 12 and 13 inside std::string and std::variant (gcc bugs 105651, 105562).
    target_compile_options(${target} PRIVATE -Wno-restrict -Wno-stringop-overflow
                                             -Wno-stringop-overread -Wno-maybe-uninitialized
                                             -Wno-array-bounds)
  endif()
  if(STATOR_WERROR)
    target_compile_options(${target} PRIVATE -Werror)
  endif()
  if(STATOR_SANITIZE)
    target_compile_options(${target} PRIVATE -fsanitize=${STATOR_SANITIZE} -fno-omit-frame-pointer)
    if(STATOR_SANITIZE MATCHES "address.*undefined")
      # AddressSanitizer finds what follows a null pointer; with these, compiling takes 2.5 times as
      # long.
      target_compile_options(${target} PRIVATE -fno-sanitize=null,alignment,object-size,vptr)
    endif()
    target_link_options(${target} PRIVATE -fsanitize=${STATOR_SANITIZE})
  endif()
  if(STATOR_UNITY)
    set_target_properties(${target} PROPERTIES UNITY_BUILD ON UNITY_BUILD_BATCH_SIZE 8)
  endif()
  # Programs are compiled with -fPIE, which another precompiled header would be needed for.
  get_target_property(type ${target} TYPE)
  if(STATOR_PCH AND TARGET stator_pch AND NOT target MATCHES "^stator_(test_)?pch$"
     AND NOT type STREQUAL EXECUTABLE)
    target_precompile_headers(${target} REUSE_FROM stator_pch)
  endif()
endfunction()

# The headers that every test begins with, precompiled: with -fPIC, as the library that carries them
# is compiled, and so the tests are.
function(stator_precompile_tests target)
  if(STATOR_PCH)
    set_target_properties(${target} PROPERTIES POSITION_INDEPENDENT_CODE OFF)
    target_compile_options(${target} PRIVATE -fPIC)
    target_precompile_headers(${target} REUSE_FROM stator_test_pch)
  endif()
endfunction()

# A line "name dep dep…" of layers.txt → STATOR_DEPS_<name>, and the names in order.
function(stator_read_layers file)
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${file})
  file(STRINGS ${file} lines)
  set(open_folders base symbolic layer)
  set(names)
  foreach(line IN LISTS lines)
    if(line MATCHES "^(#|@|$)")
      continue()
    endif()
    string(REGEX MATCHALL "[^ ]+" words "${line}")
    list(POP_FRONT words name)
    set(deps)
    foreach(open IN LISTS open_folders)
      if(open IN_LIST names)
        list(APPEND deps ${open})
      endif()
    endforeach()
    foreach(word IN LISTS words)
      if(NOT word MATCHES "\\.h$")  # one header of a folder: nothing to link
        list(APPEND deps ${word})
      endif()
    endforeach()
    list(APPEND names ${name})
    string(REPLACE "/" "_" id ${name})
    set(STATOR_DEPS_${id} "${deps}" PARENT_SCOPE)
  endforeach()
  set(STATOR_FOLDERS "${names}" PARENT_SCOPE)
endfunction()

# Every folder that `folder` may use, itself too → <out>.
function(stator_closure out)
  set(todo ${ARGN})
  set(done)
  while(todo)
    list(POP_FRONT todo folder)
    if(folder IN_LIST done)
      continue()
    endif()
    list(APPEND done ${folder})
    string(REPLACE "/" "_" id ${folder})
    list(APPEND todo ${STATOR_DEPS_${id}})
  endwhile()
  set(${out} "${done}" PARENT_SCOPE)
endfunction()

# The objects of the given folders → <out>; folders of headers alone have none.
function(stator_objects out)
  set(objects)
  foreach(folder IN LISTS ARGN)
    string(REPLACE "/" "_" id ${folder})
    if(TARGET folder_${id})
      list(APPEND objects $<TARGET_OBJECTS:folder_${id}>)
    endif()
  endforeach()
  set(${out} "${objects}" PARENT_SCOPE)
endfunction()

# The object library of one folder.
function(stator_folder name)
  string(REPLACE "/" "_" id ${name})
  set(root ${CMAKE_CURRENT_SOURCE_DIR}/${name})
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${root}/*.cpp)
  list(FILTER sources EXCLUDE REGEX "/test/")
  if(NOT sources)
    return()
  endif()
  add_library(folder_${id} OBJECT ${sources})
  stator_compile_options(folder_${id})
  target_include_directories(folder_${id} PRIVATE ${PROJECT_SOURCE_DIR}/include
                                                  ${PROJECT_SOURCE_DIR}/src)
  target_link_libraries(folder_${id} PRIVATE nlohmann_json::nlohmann_json Threads::Threads)
endfunction()

# stator_test(<folder> [FOLDERS …] [OBJECTS …] [LIBRARIES …]): test/*_test.cpp of a folder, linked
# with every folder that it and FOLDERS may use.
function(stator_test name)
  cmake_parse_arguments(PARSE_ARGV 1 test "" "" "FOLDERS;OBJECTS;LIBRARIES")
  string(REPLACE "/" "_" id ${name})
  file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/${name}/test/*.cpp)
  if(NOT STATOR_BUILD_TESTS OR NOT sources)
    return()
  endif()
  stator_closure(folders ${name} ${test_FOLDERS})
  stator_objects(objects ${folders})
  add_executable(test_${id} ${sources} ${objects} ${test_OBJECTS})
  stator_compile_options(test_${id})
  target_include_directories(test_${id} PRIVATE ${PROJECT_SOURCE_DIR}/include
                                                ${PROJECT_SOURCE_DIR}/src)
  target_compile_definitions(
    test_${id} PRIVATE STATOR_TEST_DATA="${CMAKE_CURRENT_SOURCE_DIR}/${name}/test/data")
  target_link_libraries(test_${id} PRIVATE ${test_LIBRARIES} GTest::gmock GTest::gtest_main
                                           nlohmann_json::nlohmann_json Threads::Threads ZLIB::ZLIB)
  stator_precompile_tests(test_${id})
  add_dependencies(stator_tests test_${id})
  add_test(NAME ${id} COMMAND test_${id})
endfunction()

# stator_registry(<target> <template> <half> <backends…>): the table of the backends of one build.
function(stator_registry target template half)
  set(STATOR_BACKEND_INCLUDES)
  set(STATOR_BACKEND_LIST)
  foreach(backend IN LISTS ARGN)
    string(APPEND STATOR_BACKEND_INCLUDES "#include \"backends/${backend}/${half}/register.h\"\n")
    if(half STREQUAL run)
      string(APPEND STATOR_BACKEND_LIST "&${backend}_executor(), ")
    else()
      string(APPEND STATOR_BACKEND_LIST "&${backend}_backend(), ")
    endif()
  endforeach()
  configure_file(${CMAKE_CURRENT_SOURCE_DIR}/${template} ${CMAKE_CURRENT_BINARY_DIR}/${target}.cpp
                 @ONLY)
  add_library(${target} OBJECT ${CMAKE_CURRENT_BINARY_DIR}/${target}.cpp)
  stator_compile_options(${target})
  target_include_directories(${target} PRIVATE ${PROJECT_SOURCE_DIR}/include
                                               ${PROJECT_SOURCE_DIR}/src)
endfunction()
