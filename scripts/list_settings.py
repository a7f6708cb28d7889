#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes docs/settings.md: every field of CompilationSettings, from the code.

.venv/bin/python scripts/list_settings.py
"""

from __future__ import annotations

from pathlib import Path

from stator.settings.compilation_settings import settings_table

OUT = Path(__file__).resolve().parent.parent / "docs" / "settings.md"
HEAD = """# Settings

The fields of `stator.CompilationSettings` (`torch_tensorrt.dynamo.CompilationSettings` is the same
class): keywords of `stator.compile`, keys of `options` in `torch.compile(model, backend="stator")`,
`--set name=value` of the program where it has them. A whole object goes as `settings=`. A value
that is not allowed, or an unknown name, is an error before anything is done. (i): a cached engine
is not used when this changed; other settings act through the graph, or after the build.

"""


def main() -> None:
    OUT.write_text(HEAD + settings_table())
    print(f"{OUT.name} written")


if __name__ == "__main__":
    main()
