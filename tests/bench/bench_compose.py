"""Composing, encoding and checking a report: how time and size grow with the number of images.

The bars: at most 0.3 s for 2,000 images; the content tree grows with series and not with slices; at most 64 KB plus 150 bytes for each
instance.
"""

from __future__ import annotations

import statistics
import time

from service.flow.produce import produce
from tests import builders as b

SIZES = (50, 500, 2_000, 10_000)
ROUNDS = 5


def table() -> str:
    """Measure and return a Markdown table."""
    b.rendered()  # the first one pays for imports and for the template
    rows = []
    base = 0.0
    for images in SIZES:
        study = b.study(b.ct_series(images), b.segmentation_series())
        seconds = []
        for _ in range(ROUNDS):
            start = time.perf_counter()
            made = b.rendered(produce(study, (b.tumour(),), None, b.OPTIONS))
            seconds.append(time.perf_counter() - start)
        median = statistics.median(seconds)
        base = base or median
        size = len(made[0].part10)
        allowed = 64 * 1024 + 150 * len(study.instances)
        rows.append(f"| {images:,} | {median:.3f} | {median / base:.1f} | {size:,} | {size / allowed:.0%} |")
    head = "| images | seconds, median of 5 | times the first row | bytes of the report | of the size allowed |\n|---|---|---|---|---|\n"
    return head + "\n".join(rows) + "\n"


TITLE = "Composing a report (headers read, tumour measured): compose, encode report and companion, check both"
