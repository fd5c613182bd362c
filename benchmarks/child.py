"""One measurement: `python -m benchmarks.child module:function '{"argument": ...}' directory`."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path


def main() -> None:
    """Call the function with an empty directory to work in, and leave its answer beside that."""
    function, arguments, directory = sys.argv[1:]
    module, _, name = function.partition(":")
    work = Path(directory, "work")
    work.mkdir()
    answer = getattr(importlib.import_module(module), name)(work, **json.loads(arguments))
    Path(directory, "answer.json").write_text(json.dumps(answer))


if __name__ == "__main__":
    main()
