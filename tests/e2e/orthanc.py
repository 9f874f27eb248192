"""A real Orthanc as the hospital's PACS: it forwards every stable study to the service and takes the reports."""

from __future__ import annotations

import io
import json
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydicom import dcmread
from pydicom.dataset import Dataset

from tests.helpers import dcmtk_environment, free_port, real_dcmtk, require

#: all of a study, our own reports too, each time that it grows stable; Lua's SendToModality knows instances only
FORWARD = """
function OnStableStudy(study, tags, metadata)
  RestApiPost('/modalities/lms-sr/store', DumpJson({ Resources = { study }, Synchronous = false }, true))
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

    def post(self, path: str, body: str) -> Any:
        """Send text to a REST resource, and return its answer's JSON."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.http}{path}", body.encode(), timeout=60) as answer:
            return json.load(answer)

    def forward(self, study: str) -> None:
        """Forward a study, by its Study Instance UID, to the service once more, and wait until all of it is sent."""
        self.post("/modalities/lms-sr/store", self._study(study))

    def forwards(self, study: str) -> int:
        """Return how often a study was forwarded to its end."""
        ours = self._study(study)
        return sum(
            job["Type"] == "DicomModalityStore"
            and job["State"] == "Success"
            and ours in job["Content"].get("ParentResources", ())
            for job in self.get("/jobs?expand")
        )

    def count(self, study: str) -> int:
        """Return how many instances it holds of a study."""
        return len(self.get(f"/studies/{self._study(study)}/instances"))

    def documents(self, study: str) -> list[Dataset]:
        """Return the objects of this study that carry a description of ours, by series and instance number."""
        found = []
        for series in self.get(f"/studies/{self._study(study)}/series"):
            if series["MainDicomTags"].get("SeriesDescription") in {"LMS report", "LMS measurements"}:
                found += [dcmread(io.BytesIO(self.file(identifier))) for identifier in series["Instances"]]
        return sorted(found, key=lambda ds: (ds.SeriesNumber, ds.InstanceNumber))

    def _study(self, uid: str) -> str:
        (found,) = self.post("/tools/lookup", uid)
        return str(found["ID"])

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
            # asked to end it takes four seconds, and what it holds goes with the test
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
