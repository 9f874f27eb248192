"""An earlier time point as JSON and back: how the store keeps what was read of it."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from service.model.prior import KnownLesion, Place, PriorReport
from service.model.report_json import from_json as report_from_json
from service.model.report_json import to_json as report_to_json


def to_json(prior: PriorReport) -> str:
    """Return a time point, without those before it, as JSON."""
    plain: dict[str, Any] = {
        "study": prior.study_instance_uid,
        "date": prior.study_date,
        "modalities": list(prior.modalities),
        "accession": prior.accession_number,
        "version": prior.version,
        "signed": prior.signed,
        "reported": prior.reported,
        "report": report_to_json(prior.report) if prior.report is not None else "",
        "lesions": [asdict(lesion) for lesion in prior.lesions],
        "lesions_at": [asdict(p) for p in prior.lesions_at],
        "landmarks": [asdict(p) for p in prior.landmarks],
    }
    return json.dumps(plain, ensure_ascii=False, sort_keys=True)


def from_json(text: str) -> PriorReport:
    """Return what `to_json` wrote."""
    plain = json.loads(text)
    return PriorReport(
        study_instance_uid=plain["study"],
        study_date=plain["date"],
        modalities=tuple(plain["modalities"]),
        accession_number=plain["accession"],
        version=plain["version"],
        signed=plain["signed"],
        reported=plain["reported"],
        report=report_from_json(plain["report"]) if plain["report"] else None,
        lesions=tuple(KnownLesion(**lesion) for lesion in plain["lesions"]),
        lesions_at=tuple(_place(p) for p in plain["lesions_at"]),
        landmarks=tuple(_place(p) for p in plain["landmarks"]),
    )


def _place(plain: dict[str, Any]) -> Place:
    return Place(**{**plain, "position": tuple(plain["position"])})
