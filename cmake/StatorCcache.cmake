# SPDX-License-Identifier: Apache-2.0
# ccache where it is installed. Precompiled headers need the sloppiness below to be cached at all;
# with paths relative to the checkout, another checkout of the same sources finds what this one left.
find_program(STATOR_CCACHE ccache)
if(STATOR_CCACHE AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  set(CMAKE_CXX_COMPILER_LAUNCHER
      ${CMAKE_COMMAND} -E env CCACHE_SLOPPINESS=pch_defines,time_macros,include_file_mtime,include_file_ctime
      CCACHE_BASEDIR=${CMAKE_SOURCE_DIR} CCACHE_NOHASHDIR=1 ${STATOR_CCACHE})
endif()
