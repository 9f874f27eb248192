"""What the header of a report takes from its study: who was examined, when, and on whose order."""

from __future__ import annotations

import hashlib
import json

from service.model.study import Study


def identity_hash(study: Study) -> str:
    """Return the SHA-256 (hex) over what a document copies from its study's headers (`service.sr.document`).

    Two versions of a report with the same content differ all the same where this differs: one of them names another patient, or another
    order.
    """
    patient = study.patient
    # named one by one: a field that is added to a value some day must not issue every draft anew
    parts = [
        [patient.patient_id, patient.issuer, patient.name, patient.birth_date, patient.sex],
        [study.date, study.time, study.study_id, study.accession_number, study.accession_issuer, study.description],
        [study.referring_physician],
        [[r.accession_number, r.accession_issuer, r.requested_procedure_id] for r in study.requests],
    ]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()
