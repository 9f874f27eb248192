"""A real Orthanc as the hospital's PACS: it forwards every stable study to the service and takes the reports."""

from __future__ import annotations

import json
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.helpers import dcmtk_environment, free_port, real_dcmtk, require

FORWARD = """
function OnStableStudy(study, tags, metadata)
  SendToModality(study, 'lms-sr')
end
"""


class Orthanc:
    """A running Orthanc: where it listens and what it holds."""

    def __init__(self, folder: Path, http: int, dicom: int) -> None:
        self.folder = folder
        self.http = http
        self.dicom = dicom

    def get(self, path: str) -> Any:
        """Return the JSON of a REST resource."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.http}{path}", timeout=10) as answer:
            return json.load(answer)

    def file(self, instance: str) -> bytes:
        """Return the DICOM file of an instance, by Orthanc's identifier."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.http}/instances/{instance}/file", timeout=30) as answer:
            return bytes(answer.read())

    def reports(self, title: str = "LMS report") -> list[dict[str, Any]]:
        """Return the instances of the series that carry our description, newest version last."""
        found = []
        for series in self.get("/series?expand"):
            if series["MainDicomTags"].get("SeriesDescription") == title:
                for identifier in series["Instances"]:
                    instance = self.get(f"/instances/{identifier}")
                    study = self.get(f"/series/{series['ID']}/study")
                    instance["StudyInstanceUID"] = study["MainDicomTags"]["StudyInstanceUID"]
                    found.append(instance)
        return sorted(found, key=lambda i: (i["StudyInstanceUID"], int(i["MainDicomTags"]["InstanceNumber"])))

    def send(self, *paths: Path, called: str = "PACS") -> None:
        """Send files to it with dcmtk's storescu, as a scanner would."""
        done = subprocess.run(
            [
                str(real_dcmtk("storescu")),
                "-R",
                "+sd",
                "+r",
                "-aec",
                called,
                "127.0.0.1",
                str(self.dicom),
                *map(str, paths),
            ],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=120,
            check=False,
            env=dcmtk_environment(),
        )
        assert done.returncode == 0, done.stderr[-2000:]


@contextmanager
def running(
    folder: Path, *, service_port: int, service_ae: str = "LMS_SR", stable_seconds: int = 1
) -> Iterator[Orthanc]:
    """Run an Orthanc that forwards to ``service_ae`` on ``service_port`` until the block ends."""
    program = require("/usr/sbin/Orthanc", "apt install orthanc")
    folder.mkdir(parents=True, exist_ok=True)
    http, dicom = free_port(), free_port()
    script = folder / "forward.lua"
    script.write_text(FORWARD)
    (folder / "orthanc.json").write_text(
        json.dumps(
            {
                "Name": "PACS",
                "StorageDirectory": str(folder / "storage"),
                "IndexDirectory": str(folder / "index"),
                "DicomAet": "PACS",
                "DicomPort": dicom,
                "HttpPort": http,
                "RemoteAccessAllowed": False,
                "AuthenticationEnabled": False,
                "DicomAlwaysAllowStore": True,
                "DicomAlwaysAllowFind": True,
                "UnknownSopClassAccepted": True,
                "StableAge": stable_seconds,
                "LuaScripts": [str(script)],
                "DicomModalities": {"lms-sr": [service_ae, "127.0.0.1", service_port]},
                "OverwriteInstances": False,
                "Plugins": [],
            }
        )
    )
    with (folder / "orthanc.log").open("w") as log:
        process = subprocess.Popen([str(program), str(folder / "orthanc.json")], stdout=log, stderr=log)
        try:
            pacs = Orthanc(folder, http, dicom)
            _wait_until_up(pacs)
            yield pacs
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(10)


def _wait_until_up(pacs: Orthanc, seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while True:
        try:
            pacs.get("/system")
        except OSError:
            assert time.monotonic() < end, (pacs.folder / "orthanc.log").read_text()[-2000:]
            time.sleep(0.1)
        else:
            return
