"""The loop with real processes: from the decision that a study is complete to the report in the PACS.

The bar: at most 2 s for a CT of 500 images. The times are the service's own, as the story of the study keeps them: the event
``completed``, and the moment at which the PACS's answer to the report was recorded.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path

from pydantic import SecretStr
from sqlalchemy.orm import Session

from service import app
from service.demo.pacs import StandInPacs
from service.demo.phantom import Phantom, plain_study, study
from service.demo.process import ServiceProcess, write_settings
from service.errors import InputError
from service.model.events import StudyEvent
from service.settings import Completion, Database, Local, Settings, Storage
from service.store import events

ROUNDS = 3
TITLE = "From the completed study to the report in the PACS, SQLite, real processes"


def table() -> str:
    """Measure and return a Markdown table."""
    rows = []
    for name, make in (
        ("50 images", lambda n: plain_study(50, seed=f"50 {n}")),
        ("500 images", lambda n: plain_study(500, seed=f"500 {n}")),
        ("500 images of 256 x 256 and a SEG of six segments", _with_segmentation),
    ):
        seconds = [_once(make(n)) for n in range(ROUNDS)]
        rows.append(f"| {name} | {statistics.median(seconds):.2f} | {max(seconds):.2f} |")
    return "| study | seconds, median of 3 | longest |\n|---|---|---|\n" + "\n".join(rows) + "\n"


def _with_segmentation(number: int) -> list[object]:
    return list(study(Phantom(seed=f"bench {number}", slices=500, slice_spacing=0.4, phases=("portal venous",))))


def _once(objects: list[object]) -> float:
    uid = str(objects[0].StudyInstanceUID)  # type: ignore[attr-defined] - pydicom's data sets
    with tempfile.TemporaryDirectory() as name, StandInPacs() as pacs:
        folder = Path(name)
        pacs.put(objects)  # type: ignore[arg-type] - as above
        settings = Settings(
            local=Local(ae_title="LMS_SR"),
            storage=Storage(spool=folder / "spool", reserve_mb=10),
            database=Database(url=SecretStr(f"sqlite:///{folder / 'lms-sr.db'}")),
            completion=Completion(confirmed_quiet_seconds=1, quiet_seconds=30),
            nodes=(pacs.node(),),
        )
        with ServiceProcess(write_settings(folder / "lms-sr.toml", settings), folder / "log") as service:
            pacs.forward(service.node("LMS_SR"))
            return _elapsed(settings, uid)


def _elapsed(settings: Settings, study_uid: str, patience: float = 60.0) -> float:
    until = time.monotonic() + patience
    while time.monotonic() < until:
        time.sleep(0.2)
        try:
            with app.reading(settings) as session:
                found = _between(session, study_uid)
        except InputError:
            continue
        if found is not None:
            return found
    msg = "no report came within a minute"
    raise RuntimeError(msg)


def _between(session: Session, study_uid: str) -> float | None:
    story = events.story(session, study_uid)
    done = next((e.at for e in story if e.event is StudyEvent.COMPLETED), None)
    sent = next((e.at for e in story if e.event is StudyEvent.SENT and e.data.get("kind") == "report"), None)
    return (sent - done).total_seconds() if done and sent else None
