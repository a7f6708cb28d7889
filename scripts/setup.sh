#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Everything that building, running and testing needs, on Debian 12 or a relative of it:
#   scripts/setup.sh [extra…]      extras of pyproject.toml: demo, test, bench, lint
# Packages with apt (only those that are missing), a virtual environment in .venv, the build.
set -euo pipefail
cd "$(dirname "$0")/.."

PACKAGES=(cmake ninja-build g++ ccache python3-venv python3-dev llvm-19-dev libzstd-dev zlib1g-dev
  nlohmann-json3-dev libcli11-dev libgtest-dev libgmock-dev)
case " $* " in *" test "*) PACKAGES+=(chromium) ;; esac
case " $* " in *" lint "*) PACKAGES+=(clang-format-14) ;; esac

missing=()
for package in "${PACKAGES[@]}"; do
  dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q "install ok installed" ||
    missing+=("$package")
done
if [ ${#missing[@]} -gt 0 ]; then
  echo "installing with apt: ${missing[*]}"
  as_root=()
  [ "$(id -u)" = 0 ] || as_root=(sudo)
  "${as_root[@]}" apt-get update -q
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends \
    "${missing[@]}"
fi

[ -x .venv/bin/python ] || python3 -m venv .venv
pip=(.venv/bin/python -m pip install -q --disable-pip-version-check)
"${pip[@]}" "torch==2.13.0" "scikit-build-core>=0.10" "nanobind>=2.2" "rich>=13" numpy

# The wheel is built in build/release, which the C++ tests share: what is up to date stays.
extras=$(IFS=,; echo "$*")
"${pip[@]}" --no-build-isolation ".${extras:+[$extras]}"
