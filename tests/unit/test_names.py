"""User and device names: one stored form, and what is none."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mfa_service.errors import NameRefused
from mfa_service.names import MAX_CODE_POINTS, canonical, canonical_device

REFUSED = {
    "the first control character": "\u0000",
    "line feed": "\n",
    "carriage return": "\r",
    "tab": "\t",
    "escape": "\u001b",
    "the last of the first controls": "\u001f",
    "delete": "\u007f",
    "next line": "\u0085",
    "the last of the second controls": "\u009f",
    "the first surrogate": "\ud800",
    "the last surrogate": "\udfff",
    "line separator": "\u2028",
    "paragraph separator": "\u2029",
    "Arabic letter mark": "\u061c",
    "left-to-right mark": "\u200e",
    "right-to-left mark": "\u200f",
    "left-to-right embedding": "\u202a",
    "right-to-left override": "\u202e",
    "left-to-right isolate": "\u2066",
    "pop directional isolate": "\u2069",
    "zero width space": "\u200b",
    "byte order mark": "\ufeff",
    "soft hyphen": "\u00ad",
}

BLANKS = {
    "space": " ",
    "no-break space": "\u00a0",
    "en quad": "\u2000",
    "narrow no-break space": "\u202f",
    "ideographic space": "\u3000",
}

KEPT = {
    "one letter": "a",
    "one digit": "0",
    "an address": "alice@example.com",
    "blanks within": "Alice  B\u00a0C\u3000D",
    "what paths and queries give a meaning": "a/b?c=d&e#f%2F..\\",
    "what SQL and globs give a meaning": "' OR 1=1--*_%",
    "a path's own dots": "..",
    "CJK": "\u5c71\u7530\u592a\u90ce",
    "CJK beyond the basic plane": "\U00020bb7\u91ce\u5bb6",
    "an emoji": "\U0001f510",
    "emoji joined by U+200D": "\U0001f469\u200d\U0001f4bb",
    "Arabic": "\u0639\u0644\u064a",
    "Hebrew": "\u05d0\u05d1",
    "full-width digits": "\uff11\uff12",
    "a combining mark of its own": "x\u0301",
}


def by_name(table: dict[str, str]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("text", table.values(), ids=table.keys())


@by_name(KEPT)
def test_a_name_that_can_be_seen_is_kept_as_it_is(text: str) -> None:
    assert canonical(text) == text


@by_name(REFUSED)
@pytest.mark.parametrize("place", ["{}name", "na{}me", "name{}", "{}"])
def test_a_character_that_cannot_be_seen_or_turns_the_direction_is_refused(text: str, place: str) -> None:
    with pytest.raises(NameRefused):
        canonical(place.format(text))


@by_name(BLANKS)
@pytest.mark.parametrize("place", ["{}name", "name{}", "{}"])
def test_a_blank_at_either_end_is_refused_and_not_taken_away(text: str, place: str) -> None:
    with pytest.raises(NameRefused):
        canonical(place.format(text))


def test_every_control_surrogate_and_bidirectional_control_is_refused() -> None:
    # Bidi_Control of PropList.txt: the explicit formatting characters of UAX 9, by their classes, and the three marks.
    classes = {"LRE", "RLE", "PDF", "LRO", "RLO", "LRI", "RLI", "FSI", "PDI"}
    marks = {"\u061c", "\u200e", "\u200f"}
    for character in map(chr, range(0x110000)):
        category = unicodedata.category(character)
        if category in {"Cc", "Cs"} or unicodedata.bidirectional(character) in classes or character in marks:
            with pytest.raises(NameRefused):
                canonical(f"a{character}b")


def test_composed_and_decomposed_spellings_are_one_name() -> None:
    composed, decomposed = "Zo\u00eb \ud55c", "Zoe\u0308 \u1112\u1161\u11ab"
    assert canonical(composed) == canonical(decomposed) == composed


def test_compatible_spellings_are_different_names() -> None:
    assert canonical("\ufb01") != canonical("fi")
    assert canonical("\uff21") != canonical("A")


def test_case_makes_a_different_name() -> None:
    assert canonical("Alice") != canonical("alice")


@pytest.mark.parametrize("character", ["a", "\u5c71", "\U0001f510", "\u00eb", "e\u0308"], ids=ascii)
def test_the_length_is_counted_in_code_points_after_normalisation(character: str) -> None:
    assert len(canonical(character * 255)) == MAX_CODE_POINTS == 255
    with pytest.raises(NameRefused, match="255"):
        canonical(character * 256)


def test_a_spelling_that_normalises_to_the_longest_name_is_taken_at_any_length_of_its_own() -> None:
    longest = "\u1fa7" * 255  # one code point that decomposes into four, more than any other
    spelled = unicodedata.normalize("NFD", longest)
    assert len(spelled) == 4 * 255
    assert canonical(spelled) == longest


def test_a_spelling_that_grows_by_normalisation_is_counted_after_it() -> None:
    grows = "\u0958"  # excluded from composition: NFC of one code point is two
    assert len(unicodedata.normalize("NFC", grows)) == 2
    assert len(canonical("x" + grows * 127)) == 255
    with pytest.raises(NameRefused, match="255"):
        canonical(grows * 128)


def test_nothing_and_far_too_much_are_refused() -> None:
    for text in ("", "a" * 100_000, "\u0308" * 100_000):
        with pytest.raises(NameRefused):
            canonical(text)


def test_a_refusal_does_not_repeat_the_name() -> None:
    with pytest.raises(NameRefused) as refusal:
        canonical("alice\u202e")
    assert "alice" not in str(refusal.value)


def test_all_is_a_user_and_no_device() -> None:
    assert canonical("all") == "all"
    with pytest.raises(NameRefused):
        canonical_device("all")


def test_what_merely_resembles_all_is_a_device() -> None:
    for name in ("ALL", "All", "all devices", "\uff41ll"):
        assert canonical_device(name) == name


def test_a_device_name_is_refused_like_any_other() -> None:
    for text in ("", " phone", "pho\nne", "p" * 256):
        with pytest.raises(NameRefused):
            canonical_device(text)


@given(st.text(max_size=300))
def test_a_name_once_taken_stays_what_it_is(text: str) -> None:
    try:
        name = canonical(text)
    except NameRefused:
        return
    assert canonical(name) == name == unicodedata.normalize("NFC", text)
    assert name == name.strip()
    assert 1 <= len(name) <= 255
    name.encode()
