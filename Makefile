# SPDX-License-Identifier: Apache-2.0
# Each target does all set-up itself: make demo, make test on a fresh machine.
.PHONY: setup demo test test-cpp test-python test-models test-others sanitize bench format lint clean
PYTHON := .venv/bin/python

setup: ; scripts/setup.sh

demo: ; scripts/setup.sh demo
	$(PYTHON) examples/sentence_search.py

# C++ tests by stage, then Python against eager PyTorch.
test: ; scripts/setup.sh test
	$(MAKE) test-cpp test-python

test-cpp:
	cmake -S . -B build/release -G Ninja -DSTATOR_BUILD_TESTS=ON >build/configure.log || (cat build/configure.log; exit 1)
	cmake --build build/release
	ctest --test-dir build/release --output-on-failure -j2

# Two processes at a time, of about the same length: operators and models, and all else.
IN_MODELS := tests/ops tests/cuda tests/models tests/backend
test-python:
	$(MAKE) -j2 --output-sync=target test-models test-others

test-models:
	$(PYTHON) -m pytest $(IN_MODELS)

test-others:
	$(PYTHON) -m pytest tests python/tests $(IN_MODELS:%=--ignore %)

# The C++ tests again under AddressSanitizer and UndefinedBehaviorSanitizer, then ThreadSanitizer.
# LLVM's libraries are not instrumented: what they allocate by new and free by free is not ours.
sanitize:
	cmake --preset asan >/dev/null && cmake --build --preset asan --target stator_tests
	ASAN_OPTIONS=alloc_dealloc_mismatch=0 ctest --preset asan -j2
	cmake --preset tsan >/dev/null && cmake --build --preset tsan --target test_base test_runtime && \
	  build/tsan/src/test_base && build/tsan/src/test_runtime

bench: ; scripts/setup.sh bench
	$(PYTHON) benchmarks/run.py

format:
	git ls-files '*.cpp' '*.h' | xargs clang-format-14 -i
	.venv/bin/ruff format . && .venv/bin/ruff check --fix .

lint: ; scripts/setup.sh lint
	git ls-files '*.cpp' '*.h' | xargs clang-format-14 --dry-run -Werror
	.venv/bin/ruff format --check . && .venv/bin/ruff check .
	$(PYTHON) scripts/check_layers.py
	$(PYTHON) scripts/check_tree.py

clean: ; rm -rf build .venv
