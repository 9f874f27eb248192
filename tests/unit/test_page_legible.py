"""Text on the page: every script of ISO 2022 names is shown, nothing is lost silently, nothing hides or reorders other text."""

from __future__ import annotations

import pytest

from service.page.legible import FONT_FILES, ascii_only, code_points, coverage, fonts_folder, legible, visible

NAMES = {
    "latin": "Müller-Lüdenscheidt Zoë Łódź Đorđe",
    "cyrillic": "Люкceмбypг Анна",
    "greek": "Διονυσιος Νίκος",
    "arabic": "قباني لنزار",
    "hebrew": "שרון דבורה",
    "thai": "จันทร์",
    "japanese": "山田 太郎 やまだ たろう ﾔﾏﾀﾞ ﾀﾛｳ",
    "korean": "洪 吉洞 홍 길동",
    "chinese": "王 小东 張 東",
}


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES.keys())
def test_names_of_every_character_set_are_shown_as_they_are(name: str) -> None:
    assert legible(name) == name


def test_a_font_that_maps_a_character_to_an_empty_glyph_does_not_count() -> None:
    # NanumSquare does so with Chinese characters: a name had holes
    korean = code_points((fonts_folder() / "NanumSquareR.ttf").read_bytes())
    assert ord("홍") in korean
    assert ord("山") not in korean
    assert ord(" ") in korean


def test_the_page_has_all_hangul_of_the_korean_character_set() -> None:
    # KS X 1001, by which ISO 2022 IR 149 writes names
    syllables = [bytes((row, cell)).decode("euc_kr") for row in range(0xB0, 0xC9) for cell in range(0xA1, 0xFF)]
    assert len(syllables) == 2350
    assert "".join(syllables) == legible("".join(syllables))


def test_both_weights_of_the_face_have_what_counts_as_its_own() -> None:
    regular, bold = (code_points((fonts_folder() / name).read_bytes()) for name in FONT_FILES[:2])
    assert coverage()[0] == regular & bold
    assert set(range(0x20, 0x7F)) <= coverage()[0]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("ab\u1208c", "ab‹U+1208›c"),
        ("\U0001f600", "‹U+1F600›"),
        ("a\u202eb", "a‹U+202E›b"),
        ("a\u2066b", "a‹U+2066›b"),
        ("a\x00b\x1b", "a‹U+0000›b‹U+001B›"),
        ("\ue000", "‹U+E000›"),
        ("\ufeffx", "‹U+FEFF›x"),
        ("\ud800", "‹U+D800›"),
        ("a\u200bb", "a‹U+200B›b"),
        ("a\tb\u2028c", "a b c"),
        ("a\r\nb", "a\nb"),
        # a mark that the base's font has not
        ("山\u0301", "山‹U+0301›"),
        ("e\u0301", "é"),
        # a variant of a character: the character itself
        ("葛\U000e0100", "葛"),
        ("\u0301", "‹U+0301›"),
    ],
)
def test_what_cannot_or_must_not_be_shown_is_written_out(text: str, shown: str) -> None:
    assert legible(text) == shown


def test_a_long_text_is_cut_and_says_so() -> None:
    assert legible("x" * 5000, 100) == f"{'x' * 100} … (4,900 characters more in the report)"
    # saying so would take as much room
    assert legible("x" * 120, 100) == "x" * 120


def test_a_pile_of_marks_is_no_single_character() -> None:
    shown = legible("x" + "\u0301" * 50)
    assert shown.startswith("x" + "\u0301" * 8 + "‹U+0301›")


def test_a_web_page_keeps_every_script_and_loses_only_what_hides() -> None:
    assert visible("\u1208 \U0001f600 山") == "\u1208 \U0001f600 山"
    assert visible("a\u202eb\x00") == "a‹U+202E›b‹U+0000›"


def test_ascii_is_what_is_left() -> None:
    assert ascii_only("Zoë\n山") == "Zo‹U+00EB›\n‹U+5C71›"


def test_fonts_come_with_their_licences() -> None:
    assert {"OFL-1.1.txt", "Apache-2.0.txt", "README.md", *FONT_FILES} == {p.name for p in fonts_folder().iterdir()}
