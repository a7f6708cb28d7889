# SPDX-License-Identifier: Apache-2.0
"""The examples run (the sentence search is `make demo`)."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_engine_caching(tmp_path):
    done = subprocess.run(
        [sys.executable, ROOT / "examples" / "engine_caching.py", tmp_path / "engines"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    made = re.findall(r"ahead of time, (\w+): (built|from the cache)", done.stdout)
    assert made == [("first", "built"), ("again", "from the cache"), ("other", "built")]
    assert len(list((tmp_path / "engines").glob("*.engine"))) >= 2


def test_custom_converters():
    done = subprocess.run(
        [sys.executable, ROOT / "examples" / "custom_converters.py"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert re.findall(r"(.*): (\d) engines hold (\d) of (\d)", done.stdout) == [
        ("no converter", "2", "3", "4"), ("generated converter", "1", "5", "5"),
        ("own converter", "1", "5", "5"),
    ]  # fmt: skip
    assert "off by 1" not in done.stdout


def test_vgg16_ptq():
    done = subprocess.run(
        [sys.executable, ROOT / "examples" / "vgg16_ptq.py"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "1 engine, 0 operators in PyTorch" in done.stdout
    off = float(re.search(r"compiled, off from quantized by ([\d.]+)", done.stdout)[1])
    assert off < 0.02
    assert "the same class for 100%" in done.stdout
