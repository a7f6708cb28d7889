# SPDX-License-Identifier: Apache-2.0
"""Dry runs: the report to the letter, as JSON and as a page; what they leave alone."""

import json
import logging
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import stator
import torch
from torch import nn

from tests.backend.mixed_model import mixed

DATA = Path(__file__).resolve().parents[1] / "data"
PROGRAM = Path(sys.executable).parent / "stator"


@pytest.fixture(scope="module")
def pt2(tmp_path_factory):
    module, x = mixed()
    path = tmp_path_factory.mktemp("mixed") / "model.pt2"
    torch.export.save(torch.export.export(module, (x,)), path)
    return path


def dryrun(pt2, *options):
    done = subprocess.run(
        [PROGRAM, "dryrun", pt2, "--set", "min_block_size=3", *options],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return done.stdout


def test_report_of_the_program(pt2):
    """Equal to tests/data/mixed_report.txt, but for the folder of this file in source lines."""
    text = dryrun(pt2).replace(str(Path(__file__).parent), "FOLDER")
    text = re.sub(r"mixed_model.py:\d+", "mixed_model.py:LINE", text)
    assert text == (DATA / "mixed_report.txt").read_text()


def test_both_doors_give_one_partition(pt2, capsys):
    module, x = mixed()
    stator.compile(module, inputs=[x], min_block_size=3, dryrun=True)
    printed = capsys.readouterr().out

    def body(text):
        return re.sub(r"Compiled with: .*\n", "", text)

    assert body(printed) == body(dryrun(pt2))


def test_json_has_costs_and_edges(pt2):
    report = json.loads(dryrun(pt2, "--format", "json"))
    parts = {s["name"]: s for s in report["segments"]}
    assert [s["engine"] for s in report["segments"]] == [True, False, True, False, True]
    # Two products of 48 x 32 x 64, each a multiplication and an addition; pointwise work besides.
    assert 2 * 2 * 48 * 32 * 64 < parts["_run_on_acc_0"]["flops"] < 2.2 * 2 * 48 * 32 * 64
    weights = 2 * 32 * 64 + 64 + 32 + 2 * 64
    assert parts["_run_on_acc_0"]["bytes"] == 4 * (2 * 48 * 32 + weights)
    assert sum(parts["_run_on_acc_2"]["operator_counts"].values()) == 10
    assert [-1, 0] in report["edges"] and [0, 1] in report["edges"] and [4, -1] in report["edges"]
    reasons = {n["node"]: n["reason"] for n in report["in_torch"]}
    assert reasons["add"] == "its block of 1 operator(s) is below min_block_size=3"
    assert "no converter" in reasons["linalg_qr"]


@pytest.mark.skipif(shutil.which("chromium") is None, reason="needs chromium")
def test_page_in_a_browser(pt2, tmp_path):
    page, picture = tmp_path / "report.html", tmp_path / "report.png"
    dryrun(pt2, "--format", "html", "-o", page)
    browser = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
    done = subprocess.run(
        [*browser, "--dump-dom", page.as_uri()], capture_output=True, text=True, timeout=120,
        check=True,
    )  # fmt: skip
    edges = len(json.loads(dryrun(pt2, "--format", "json"))["edges"])
    assert f'data-drawn="{edges}"' in done.stdout  # the script ran to its end
    assert done.stdout.count('class="part engine"') == 3
    assert "its block of 1 operator(s) is below min_block_size=3</td>" in done.stdout
    subprocess.run(
        [*browser, "--window-size=1100,1100", f"--screenshot={picture}", page.as_uri()],
        capture_output=True, timeout=120, check=True,
    )  # fmt: skip
    assert picture.stat().st_size > 20000


def test_page_is_safe_for_any_text(tmp_path):
    """A module path or setting that looks like markup stays text."""
    module = nn.Sequential(nn.Linear(4, 4), nn.ReLU()).eval()
    path = tmp_path / "m.pt2"
    torch.export.save(torch.export.export(module, (torch.randn(2, 4),)), path)
    name = "</script><script>document.title='owned'</script>"
    done = subprocess.run(
        [PROGRAM, "dryrun", path, "--format", "html", "--set", f"torch_executed_ops={name}"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "<script>document.title" not in done.stdout


def test_unwritable_file_is_an_error(pt2):
    done = subprocess.run(
        [PROGRAM, "dryrun", pt2, "-o", "/nonexistent/r.html"], capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode != 0 and "/nonexistent/r.html" in done.stderr


@torch.no_grad()
def test_graphs_of_one_call_share_a_file(tmp_path, caplog):
    """A model with a graph break has two reports; a file from before is left alone."""
    linear = nn.Linear(4, 4).eval()

    def function(x):
        y = torch.relu(linear(x))
        torch._dynamo.graph_break()
        return torch.tanh(linear(y))

    path = tmp_path / "report.txt"
    options = {"dryrun": str(path), "min_block_size": 1}
    x = torch.randn(2, 4)
    got = torch.compile(function, backend="stator", options=options)(x)
    torch.testing.assert_close(got, function(x), rtol=0, atol=0)
    assert path.read_text().count("Dry-Run Results for Graph") == 2
    before = path.read_bytes()
    torch._dynamo.reset()
    with caplog.at_level(logging.WARNING, "torch_tensorrt"):
        torch.compile(function, backend="stator", options=dict(options))(x)
    assert path.read_bytes() == before
    assert caplog.text.count("is not overwritten") == 2


def test_folder_that_is_missing_is_a_warning(capsys, caplog):
    module, x = mixed()
    with caplog.at_level(logging.WARNING, "torch_tensorrt"):
        stator.compile(module, inputs=[x], dryrun="/nonexistent/report.txt")
    assert "/nonexistent/report.txt" in caplog.text
    assert "Dry-Run Results" in capsys.readouterr().out


@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize("size", [1, 2, 3, 5, 10, float("inf")])
def test_report_is_what_a_compilation_makes(capsys, size, fast):
    module, x = mixed()
    settings = {"min_block_size": size, "use_fast_partitioner": fast, "timing_cache_path": ""}
    stator.compile(module, inputs=[x], dryrun=True, **settings)
    names = re.findall(r"Submodule name: (\w+)", capsys.readouterr().out)
    compiled = stator.compile(module, inputs=[x], **settings)
    engines = [e.name for e in compiled.stator_report.engines]
    assert engines == names
    with torch.no_grad():
        for got, wanted in zip(compiled(x), module(x), strict=True):
            torch.testing.assert_close(got, wanted, rtol=1e-3, atol=1e-4)


def test_recommendations_are_true(capsys):
    module, x = mixed()
    stator.compile(module, inputs=[x], dryrun=True, min_block_size=1)
    out = capsys.readouterr().out
    advice = re.findall(r"min_block_size=(\d+) which (?:would )?generates? (\d+) TRT", out)
    assert len(advice) >= 2
    for size, engines in advice:
        stator.compile(module, inputs=[x], dryrun=True, min_block_size=int(size))
        again = capsys.readouterr().out
        assert again.count("TRT Engine #") == int(engines)


def test_nothing_in_the_log_at_info(caplog, capsys):
    module, x = mixed()
    with caplog.at_level(logging.INFO, "torch_tensorrt"):
        stator.compile(module, inputs=[x], timing_cache_path="")
    assert "Dry-Run" not in caplog.text and capsys.readouterr().out == ""
