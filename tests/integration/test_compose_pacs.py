"""The Orthanc of docker-compose.yml, run for real: it forwards stable studies, and never sends us back what we sent."""

from __future__ import annotations

import json
import subprocess
import time
import urllib.request
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

from tests.helpers import ROOT, dcmtk_environment, free_port, real_dcmtk, require

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

STABLE_SECONDS = 1


@dataclass(frozen=True, slots=True)
class Pacs:
    """A running Orthanc, and where the receiver beside it leaves what it gets."""

    dicom_port: int
    http_port: int
    received: Path

    def ask(self, path: str) -> Any:
        """Return what Orthanc's own interface says."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.http_port}{path}", timeout=5) as answer:
            return json.load(answer)

    def send(self, *files: Path, calling: str) -> None:
        """C-STORE ``files`` to it as ``calling``."""
        command = [
            real_dcmtk("storescu"),
            "-R",
            "-aet",
            calling,
            "-aec",
            "ORTHANC",
            "127.0.0.1",
            str(self.dicom_port),
            *files,
        ]
        subprocess.run(command, check=True, timeout=30, env=dcmtk_environment(), capture_output=True)

    def count_received(self) -> int:
        """Return how many different instances came back."""
        return len(list(self.received.iterdir()))

    def sends(self) -> int:
        """Return how many sends there were."""
        return len(self.ask("/jobs"))


def _wait(condition: Callable[[], bool], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.1)


@pytest.fixture
def pacs(tmp_path: Path) -> Iterator[Pacs]:
    orthanc = require("/usr/sbin/Orthanc", "apt install orthanc")
    plugin = require("/usr/share/orthanc/plugins/libOrthancDicomWeb.so", "apt install orthanc-dicomweb")
    receiver = real_dcmtk("storescp")
    configuration = json.loads((ROOT / "config/compose/orthanc.json").read_text(encoding="utf-8"))
    dicom, http, ours = free_port(), free_port(), free_port()
    (tmp_path / "db").mkdir()
    # only what the machine decides: places, addresses and patience
    configuration |= {
        "StorageDirectory": str(tmp_path / "db"),
        "IndexDirectory": str(tmp_path / "db"),
        "Plugins": [str(plugin)],
        "LuaScripts": [str(ROOT / "config/compose/forward.lua")],
        "HttpPort": http,
        "DicomPort": dicom,
        "StableAge": STABLE_SECONDS,
        "RemoteAccessAllowed": False,
    }
    configuration["DicomModalities"]["lms-sr"] |= {"Host": "127.0.0.1", "Port": ours}
    (tmp_path / "orthanc.json").write_text(json.dumps(configuration), encoding="utf-8")
    received = tmp_path / "received"
    received.mkdir()

    running: list[subprocess.Popen[bytes]] = []
    try:
        with (tmp_path / "orthanc.log").open("wb") as log:
            running.append(subprocess.Popen([orthanc, tmp_path / "orthanc.json"], stdout=log, stderr=log))
            running.append(
                subprocess.Popen(
                    [receiver, "-aet", "LMS_SR", "-uf", "-od", received, str(ours)],
                    stdout=log,
                    stderr=log,
                    env=dcmtk_environment(),
                )
            )
        pacs = Pacs(dicom_port=dicom, http_port=http, received=received)

        def answers() -> bool:
            try:
                return bool(pacs.ask("/system"))
            except OSError:
                return False

        _wait(answers)
        yield pacs
    finally:
        for process in running:
            process.terminate()
        for process in running:
            process.wait(timeout=20)


def _uid() -> str:
    return f"2.25.{uuid.uuid4().int}"


def _image(folder: Path, study: str, number: int) -> Path:
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    image = Dataset()
    image.file_meta = meta
    image.SOPClassUID = meta.MediaStorageSOPClassUID = CTImageStorage
    image.SOPInstanceUID = meta.MediaStorageSOPInstanceUID = _uid()
    image.StudyInstanceUID = study
    image.SeriesInstanceUID = study + ".1"
    image.PatientID = "FORWARD"
    image.PatientName = "Test^Forward"
    image.Modality = "CT"
    image.InstanceNumber = number
    path = folder / f"{number}.dcm"
    image.save_as(path, enforce_file_format=True)
    return path


def test_a_stable_study_is_forwarded_once_and_again_only_for_new_images(pacs: Pacs, tmp_path: Path) -> None:
    study = _uid()
    first, second, ours, late = (_image(tmp_path, study, number) for number in range(1, 5))

    pacs.send(first, second, calling="CT")
    _wait(lambda: pacs.count_received() == 2)

    # what comes from us changes the study, and yet sends nothing
    pacs.send(ours, calling="LMS_SR")
    _wait(lambda: pacs.ask("/statistics")["CountInstances"] == 3)
    time.sleep(STABLE_SECONDS + 2)
    assert (pacs.count_received(), pacs.sends()) == (2, 1)

    pacs.send(late, calling="CT")
    _wait(lambda: pacs.count_received() == 3)
    assert pacs.sends() == 2
