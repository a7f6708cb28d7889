#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Builds Stator on a machine with an NVIDIA GPU, PyTorch, CMake, ninja and nanobind, without LLVM
# (the CPU backend stays off), and makes the Python package importable from build/gpu/python:
#   scripts/gpu.sh                 build
#   scripts/gpu.sh test […]        build, then the tests that run on a GPU (arguments: pytest's)
#   scripts/gpu.sh bench […]       build, then benchmarks/gpu.py (arguments: its own)
#   scripts/gpu.sh all             build, test, bench
set -euo pipefail
cd "$(dirname "$0")/.."
PYTHON=${PYTHON:-python3}
BUILD=build/gpu
# Two shared libraries share one C++ library: a compiler that links it into each will not do.
export CXX=${STATOR_CXX:-/usr/bin/g++} CC=${STATOR_CC:-/usr/bin/gcc}

mkdir -p build
cmake -S . -B $BUILD -G Ninja -DCMAKE_BUILD_TYPE=Release -DSTATOR_BACKEND_CPU=OFF \
  -DSTATOR_BUILD_PYTHON=ON -DSTATOR_BUILD_TESTS=OFF \
  -DPython_EXECUTABLE="$(command -v "$PYTHON")" >$BUILD.configure.log 2>&1 ||
  { cat $BUILD.configure.log; exit 1; }
cmake --build $BUILD >$BUILD.log 2>&1 || { grep -E "error|FAILED" -A6 $BUILD.log | head -60; exit 1; }

# The package: the sources' Python files beside the extension that was just built.
mkdir -p $BUILD/package/stator
find $BUILD/package/stator -maxdepth 1 -type l -delete
ln -sfn "$PWD"/python/stator/*.py "$PWD"/python/stator/*/ $BUILD/package/stator/
ln -sf "$PWD"/$BUILD/python/_native*.so $BUILD/package/stator/
ln -sfn "$PWD"/python/torch_tensorrt $BUILD/package/torch_tensorrt
export PYTHONPATH="$PWD/$BUILD/package:$PWD${PYTHONPATH:+:$PYTHONPATH}"

case "${1:-}" in
  test) shift; exec "$PYTHON" -m pytest -q --devices cuda "$@" tests python/tests ;;
  all)
    "$PYTHON" -m pytest -q --devices cuda tests python/tests
    exec "$PYTHON" benchmarks/gpu.py --inductor default reduce-overhead max-autotune ;;
  bench) shift; exec "$PYTHON" benchmarks/gpu.py "$@" ;;
esac
