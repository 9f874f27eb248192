"""Run the benchmarks and put their tables into ``docs/performance.md``: ``python -m tests.bench [name ...] [--quick]``.

``--quick`` is a first look, with small numbers where a benchmark has them; the page stays as it is.
"""

from __future__ import annotations

import datetime as dt
import importlib
import inspect
import pkgutil
import platform
import re
import signal
import sys
from pathlib import Path

import tests.bench

PAGE = Path(__file__).parent.parent.parent / "docs" / "performance.md"


def main(wanted: list[str]) -> int:
    """Run what is wanted (all, when nothing is named) and rewrite the part of the page between its marks."""
    # as for Ctrl-C: what was started is stopped, what was written is removed
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    quick = "--quick" in wanted
    wanted = [name for name in wanted if name != "--quick"]
    page = PAGE.read_text(encoding="utf-8")
    names = sorted(
        m.name.removeprefix("bench_") for m in pkgutil.iter_modules(tests.bench.__path__) if m.name.startswith("bench_")
    )
    for name in names:
        if wanted and name not in wanted:
            continue
        module = importlib.import_module(f"tests.bench.bench_{name}")
        has_quick = "quick" in inspect.signature(module.table).parameters
        table = module.table(quick=True) if quick and has_quick else module.table()
        print(f"{module.TITLE}\n{table}")
        machine = f"{dt.datetime.now(dt.UTC):%Y-%m-%d}, Python {platform.python_version()}, {platform.machine()}"
        block = f"<!-- {name} -->\n{module.TITLE} ({machine}):\n\n{table}<!-- /{name} -->"
        pattern = re.compile(rf"<!-- {name} -->.*?<!-- /{name} -->", re.DOTALL)
        page = (
            pattern.sub(lambda _, block=block: block, page) if pattern.search(page) else f"{page.rstrip()}\n\n{block}\n"
        )
    if not quick:
        PAGE.write_text(page, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
