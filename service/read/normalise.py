"""Instances as received to one `Study`: the same value for every order of arrival, whatever the headers say.

Real studies disagree with themselves. One rule decides about every element that belongs to the patient or to the study:

1. only values that are not empty, and valid for their kind, count;
2. those of images before those of objects about images (a segmentation, a report), which copy and invent;
3. then the value that most instances have, then the longest, then the first in code point order.

Patient's name, birth date and sex are read from the instances of the chosen Patient ID, the time from those of the chosen date.
What was mended or dropped is said in ``problems``, without the values.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

from service.errors import InputError
from service.model.code import Code
from service.model.study import NOT_IMAGES, Header, Instance, Patient, Request, Series, Study
from service.read.facts_json import header_to_json, own_to_json
from service.read.part10 import as_numbers
from service.read.sop_classes import modality_of
from service.read.values import LONG, SHORT, clean_date, clean_name, clean_sex, clean_text, clean_time, cut_name


def normalise(instances: Iterable[Instance], *, default_issuer: str = "") -> Study:
    """Return the study that ``instances`` are.

    Parameters
    ----------
    instances:
        In any order; an instance that stands there twice counts once.
    default_issuer:
        The issuer of Patient IDs that name none (``[site] issuer``).

    Returns
    -------
    Study
        Series ordered by number (those without one last), then UID; instances by position along the normal of their series (those
        without one last), then instance number, then UID.

    Raises
    ------
    InputError
        There is no instance, or the instances belong to several studies.
    """
    unique = _unique(instances)
    studies = {i.study_instance_uid for i in unique}
    if len(studies) != 1:
        msg = f"{len(studies)} studies where one was expected: {', '.join(sorted(studies)) or 'there are no instances'}"
        raise InputError(msg)
    mender = _Mender()
    series = _series(unique, mender)
    images = {id(i.header) for s in series if s.modality not in NOT_IMAGES for i in s.instances}
    counts = Counter(id(i.header) for i in unique)
    headers = {id(i.header): i.header for i in unique}
    witnesses = tuple(_Witness(headers[key], count, key in images) for key, count in counts.items())
    patient, patient_ids = _patient(witnesses, default_issuer, mender)
    date = mender.pick(witnesses, "StudyDate", "study date", clean_date)
    time = mender.pick(
        [w for w in witnesses if clean_date(w.header.text("StudyDate")) == date] or witnesses,
        "StudyTime",
        "study time",
        clean_time,
    )
    requests = _requests(witnesses, mender)
    accession = mender.cut(
        mender.pick(witnesses, "AccessionNumber", "accession number", clean_text), SHORT, "accession number"
    )
    return Study(
        study_instance_uid=studies.pop(),
        patient=patient,
        date=date,
        time=time,
        accession_number=accession,
        accession_issuer=next((r.accession_issuer for r in requests if r.accession_number == accession), ""),
        study_id=mender.cut(mender.pick(witnesses, "StudyID", "study ID", clean_text), SHORT, "study ID"),
        description=mender.cut(
            mender.pick(witnesses, "StudyDescription", "study description", clean_text), LONG, "study description"
        ),
        referring_physician=mender.cut_name(
            mender.pick(witnesses, "ReferringPhysicianName", "referring physician", clean_name), "referring physician"
        ),
        institution=mender.cut(
            mender.pick(witnesses, "InstitutionName", "institution", clean_text), LONG, "institution"
        ),
        procedure_codes=_procedure_codes(witnesses),
        requests=requests,
        series=series,
        problems=mender.problems(),
        patient_ids=patient_ids,
        calling_aes=tuple(sorted({i.calling_ae for i in unique} - {""})),
        called_aes=tuple(sorted({i.called_ae for i in unique} - {""})),
    )


@dataclass(frozen=True, slots=True)
class _Witness:
    """A header, on how many instances it stands, and whether those are images."""

    header: Header
    count: int
    image: bool


def _elect(votes: Iterable[tuple[str, int]]) -> str:
    """Return the value with most votes; of those the longest, then the first in code point order. Empty values do not stand."""
    counts: Counter[str] = Counter()
    for value, count in votes:
        if value:
            counts[value] += count
    return min(counts, key=lambda v: (-counts[v], -len(v), v), default="")


@dataclass(slots=True)
class _Mender:
    """Decides between values, and keeps what it had to decide; each list holds names of elements, never values."""

    disagreeing: set[str] = field(default_factory=set)
    invalid: set[str] = field(default_factory=set)
    too_long: set[str] = field(default_factory=set)
    further: set[str] = field(default_factory=set)

    def pick(self, witnesses: Sequence[_Witness], keyword: str, name: str, clean: Callable[[str], str]) -> str:
        """Return the value of ``keyword`` that the rule of this module chooses, cleaned; ``name`` is what problems call it."""
        votes: dict[bool, list[tuple[str, int]]] = {True: [], False: []}
        for witness in witnesses:
            for text in witness.header.texts(keyword)[:1]:
                value = clean(text)
                if value:
                    votes[witness.image].append((value, witness.count))
                elif text.strip(" ^="):
                    # (a name of delimiters alone is an empty one)
                    self.invalid.add(name)
        if len({v for tier in votes.values() for v, _ in tier}) > 1:
            self.disagreeing.add(name)
        return _elect(votes[True]) or _elect(votes[False])

    def cut(self, value: str, length: int, name: str) -> str:
        """Return ``value`` with at most ``length`` characters."""
        if len(value) > length:
            self.too_long.add(name)
        return value[:length].rstrip()

    def cut_name(self, value: str, name: str) -> str:
        """Return a person's name within the limits of PN."""
        shorter = cut_name(value)
        if shorter != value:
            self.too_long.add(name)
        return shorter

    def problems(self) -> tuple[str, ...]:
        """Return everything in sentences, sorted within each kind."""
        sentences = [
            ("The headers disagree about {}: the value of most images was taken", self.disagreeing),
            ("Not valid in some headers, and left out there: {}", self.invalid),
            ("Longer than DICOM allows, and cut: {}", self.too_long),
        ]
        said = [text.format(", ".join(sorted(names))) for text, names in sentences if names]
        return (*said, *sorted(self.further))


def _unique(instances: Iterable[Instance]) -> list[Instance]:
    """Return every SOP instance once: of two under the same UID, the one whose facts come first as text."""
    kept: dict[str, Instance] = {}
    for instance in instances:
        other = kept.get(instance.sop_instance_uid)
        if other is None or _rank(instance) < _rank(other):
            kept[instance.sop_instance_uid] = instance
    return _share_headers([kept[uid] for uid in sorted(kept)])


def _rank(instance: Instance) -> tuple[str, ...]:
    received = instance.received_at.isoformat() if instance.received_at else ""
    return (
        instance.study_instance_uid,
        instance.series_instance_uid,
        instance.sop_class_uid,
        instance.transfer_syntax_uid,
        header_to_json(instance.header),
        own_to_json(instance.own),
        received,
        instance.path,
        instance.calling_ae,
        instance.called_ae,
        instance.source_address,
    )


def _share_headers(instances: list[Instance]) -> list[Instance]:
    """Return the instances with equal headers made one object, so that identity stands for equality."""
    by_text: dict[str, Header] = {}
    by_id: dict[int, Header] = {}
    shared = []
    for instance in instances:
        header = by_id.get(id(instance.header))
        if header is None:
            header = by_text.setdefault(header_to_json(instance.header), instance.header)
            by_id[id(instance.header)] = header
        shared.append(instance if header is instance.header else replace(instance, header=header))
    return shared


def _series(instances: list[Instance], mender: _Mender) -> tuple[Series, ...]:
    groups: dict[str, list[Instance]] = defaultdict(list)
    for instance in instances:
        groups[instance.series_instance_uid].append(instance)
    series = [_one_series(uid, members, mender) for uid, members in groups.items()]
    return tuple(sorted(series, key=lambda s: (s.number is None, s.number or 0, s.series_instance_uid)))


def _one_series(uid: str, members: list[Instance], mender: _Mender) -> Series:
    counts = Counter(id(i.header) for i in members)
    headers = {id(i.header): i.header for i in members}
    header = min(headers.values(), key=lambda h: (-counts[id(h)], header_to_json(h)) if len(headers) > 1 else (0, ""))
    declared = [(i.header.text("Modality"), modality_of(i.header.text("Modality"), i.sop_class_uid)) for i in members]
    for stated, found in declared:
        if not stated:
            mender.further.add("The modality of a series is missing: it was taken from the kind of its objects")
        elif stated.strip().upper() != found:
            mender.further.add("The modality of a series is not that of its objects: theirs was taken")

    def most(keyword: str, clean: Callable[[str], str]) -> str:
        return _elect((clean(headers[key].text(keyword)), count) for key, count in counts.items())

    return Series(
        series_instance_uid=uid,
        modality=_elect((found, 1) for _, found in declared),
        header=header,
        instances=_ordered(members, header),
        number=_whole_number(most("SeriesNumber", clean_text)),
        description=most("SeriesDescription", clean_text),
        date=most("SeriesDate", clean_date),
    )


def _whole_number(text: str) -> int | None:
    numbers = as_numbers((text,)) if text else ()
    return int(numbers[0]) if numbers else None


_ORIENTATION, _POSITION = 6, 3


def _ordered(members: list[Instance], header: Header) -> tuple[Instance, ...]:
    axes = as_numbers(header.texts("ImageOrientationPatient"))
    normal = (0.0, 0.0, 1.0)
    if len(axes) == _ORIENTATION:
        (a, b, c), (d, e, f) = axes[:3], axes[3:]
        normal = (b * f - c * e, c * d - a * f, a * e - b * d)

    def key(instance: Instance) -> tuple[bool, float, bool, int, str]:
        position = instance.numbers("ImagePositionPatient")
        placed = len(position) == _POSITION
        # a hundredth of a millimetre: what is nearer is one place, written with other digits
        depth = round(sum(n * p for n, p in zip(normal, position, strict=True)), 2) if placed else 0.0
        number = _whole_number(next(iter(instance.own.get("InstanceNumber", ())), ""))
        return not placed, depth, number is None, number or 0, instance.sop_instance_uid

    return tuple(sorted(members, key=key))


def _issuer(header: Header) -> str:
    return clean_text(header.text("IssuerOfPatientID") or header.text("UniversalEntityID"))


def _patient(
    witnesses: Sequence[_Witness], default_issuer: str, mender: _Mender
) -> tuple[Patient, tuple[tuple[str, str], ...]]:
    stated: dict[str, set[str]] = defaultdict(set)
    for witness in witnesses:
        if patient_id := clean_text(witness.header.text("PatientID")):
            stated[patient_id].add(_issuer(witness.header))
    # an ID without issuer is the same patient as that ID with one, unless two issuers claim it
    named = {(i, issuer) for i, issuers in stated.items() for issuer in (issuers - {""} or {default_issuer})}
    if len(named) > 1:
        mender.further.add(
            f"The headers name {len(named)} patient IDs: the objects may belong to more than one patient"
        )
    if not named:
        mender.further.add("The patient ID is missing")
    chosen = mender.pick(witnesses, "PatientID", "patient ID", clean_text)
    own = [w for w in witnesses if clean_text(w.header.text("PatientID")) == chosen]
    issuer = _elect((_issuer(w.header), w.count) for w in own if w.image) or _elect(
        (_issuer(w.header), w.count) for w in own
    )
    name = mender.pick(own, "PatientName", "patient's name", clean_name)
    if not name.isascii() and not any(any(w.header.texts("SpecificCharacterSet")) for w in own):
        mender.further.add("The patient's name has letters for which no character set is declared: it may be misspelt")
    if "\N{REPLACEMENT CHARACTER}" in name:
        mender.further.add("The patient's name has letters that its character set does not hold: it is misspelt")
    patient = Patient(
        patient_id=mender.cut(chosen, LONG, "patient ID"),
        issuer=mender.cut(issuer or default_issuer, LONG, "issuer of the patient ID"),
        name=mender.cut_name(name, "patient's name"),
        birth_date=mender.pick(own, "PatientBirthDate", "patient's birth date", clean_date),
        sex=mender.pick(own, "PatientSex", "patient's sex", clean_sex),
    )
    return patient, tuple(sorted(named))


def _requests(witnesses: Sequence[_Witness], mender: _Mender) -> tuple[Request, ...]:
    """Return one request for each accession number that images name, else for each that other objects name; sorted.

    Their further attributes follow the rule of this module, one by one. A request without an accession number stays only where there
    is no other.
    """
    for image in (True, False):
        votes: dict[tuple[str, str], list[tuple[Request, int]]] = defaultdict(list)
        for witness in witnesses:
            if witness.image is image:
                for request in witness.header.requests:
                    key = (clean_text(request.accession_number), clean_text(request.accession_issuer))
                    votes[key].append((request, witness.count))
        numbered = {key: found for key, found in votes.items() if key[0]}
        for number, issuer in sorted(numbered):
            # a number without issuer is the same as that number with one
            if not issuer and (others := sorted(k for k in numbered if k[0] == number and k[1])):
                numbered[others[0]].extend(numbered.pop((number, "")))
        if chosen := numbered or votes:
            return tuple(_merged(key, chosen[key], mender) for key in sorted(chosen))
    return ()


def _merged(key: tuple[str, str], votes: list[tuple[Request, int]], mender: _Mender) -> Request:
    def most(name: str) -> str:
        return _elect((clean_text(getattr(request, name)), count) for request, count in votes)

    codes = Counter({r.requested_procedure_code: 0 for r, _ in votes if r.requested_procedure_code})
    for request, count in votes:
        if request.requested_procedure_code:
            codes[request.requested_procedure_code] += count
    number, issuer = key
    return Request(
        accession_number=mender.cut(number, SHORT, "accession number"),
        accession_issuer=mender.cut(issuer, LONG, "issuer of the accession number"),
        requested_procedure_id=mender.cut(most("requested_procedure_id"), SHORT, "requested procedure ID"),
        requested_procedure_description=mender.cut(
            most("requested_procedure_description"), LONG, "requested procedure description"
        ),
        requested_procedure_code=next(iter(_by_votes(codes)), None),
        scheduled_procedure_step_id=mender.cut(
            most("scheduled_procedure_step_id"), SHORT, "scheduled procedure step ID"
        ),
        placer_order_number=mender.cut(most("placer_order_number"), LONG, "placer order number"),
        filler_order_number=mender.cut(most("filler_order_number"), LONG, "filler order number"),
        study_instance_uid=most("study_instance_uid"),
    )


def _by_votes(codes: Counter[Code]) -> tuple[Code, ...]:
    return tuple(sorted(codes, key=lambda c: (-codes[c], c.scheme, c.value, c.meaning)))


def _procedure_codes(witnesses: Sequence[_Witness]) -> tuple[Code, ...]:
    """Return the codes of the procedure performed, else of the one requested, of images, else of other objects; each once."""
    for keyword in ("ProcedureCodeSequence", "RequestedProcedureCodeSequence"):
        for image in (True, False):
            codes: Counter[Code] = Counter()
            for witness in witnesses:
                if witness.image is image:
                    for code in witness.header.codes.get(keyword, ()):
                        codes[code] += witness.count
            if codes:
                kept: dict[tuple[str, str], Code] = {}
                for code in _by_votes(codes):
                    kept.setdefault((code.value, code.scheme), code)
                return tuple(kept.values())
    return ()
