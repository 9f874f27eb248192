"""What series texts suggest, and where they suggest nothing."""

from __future__ import annotations

import pytest

from service.flow.folding import fold
from service.flow.technique import line_of, phase_of, regions_of
from tests import builders as b


@pytest.mark.parametrize(
    ("description", "phase"),
    [
        ("Abdomen portal venous 1.5 B31f", "phase.portal"),
        ("ABD/PELVIS PV 3mm", "phase.portal"),
        ("Abdomen portalvenös", "phase.portal"),
        ("Abd. art. 1.0", "phase.arterial"),
        ("late arterial liver", "phase.late_arterial"),
        ("Nativ", "phase.unenhanced"),
        ("THORAX w/o contrast", "phase.unenhanced"),
        ("Delayed 5 min", "phase.delayed"),
        ("temps veineux", "phase.portal"),
        ("nephrographic", "phase.nephrographic"),
        ("Parth 2.0", ""),
        ("arterial + portal venous", ""),
        ("", ""),
    ],
)
def test_phase_of_a_description(description, phase):
    assert phase_of(b.series(2, description=description))[0] == phase


def test_the_protocol_name_speaks_where_the_description_does_not():
    assert phase_of(b.series(2, description="1.5 B31f", ProtocolName="Abdomen PV")) == ("phase.portal", "protocol name")


def test_regions_come_from_terms_that_say_one_thing():
    assert regions_of(
        b.study(b.series(2, BodyPartExamined="Abdomen Pelvis"), b.series(3, BodyPartExamined="EXTREMITY"))
    ) == ("reg.abd_pelvis",)


def test_a_series_in_words():
    assert line_of(b.ct_series(302)) == "CT, Abdomen portal venous 1.5 B31f, 1.5 mm, 120 kV, 302 images"
    assert line_of(b.series(2, images=1, modality="US")) == "US, 1 image"


def test_folding_ignores_case_accents_and_hyphens():
    assert fold("Léiomyo-SARCOME  rétropéritonéal") == " leiomyo sarcome retroperitoneal "
    assert fold("große Raumforderung") == " grosse raumforderung "
