"""User and device names in their one stored form, made once at the edge."""

import re
import unicodedata

from mfa_service.errors import NameRefused

MAX_CODE_POINTS = 255

# Controls (Cc), surrogates (Cs), line and paragraph separators, the Bidi_Control property, and the three characters
# that are invisible wherever they stand. What is refused would make two names look alike, or break a log line.
_REFUSED = re.compile(
    "[\u0000-\u001f\u007f-\u009f\ud800-\udfff\u2028\u2029\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\u200b\ufeff\u00ad]"
)
_PLAIN = re.compile(r"[!-~](?:[ -~]{0,253}[!-~])?", re.ASCII)


def canonical(text: str) -> str:
    """Return a user or device name in the form that is stored and compared.

    Args:
        text: the name as a caller gave it, any Unicode string.

    Returns:
        The name after NFC normalisation, 1 to 255 code points; nothing else about it is changed.

    Raises:
        NameRefused: it is empty, too long, begins or ends with a blank, or has a character that cannot be seen or
            turns the reading direction.
    """
    if _PLAIN.fullmatch(text):
        return text
    if not text:
        raise NameRefused("must not be empty")
    if len(text) > MAX_CODE_POINTS * 4:  # no composition shrinks a name by more, and normalising costs time
        raise NameRefused(f"must have at most {MAX_CODE_POINTS} characters")
    if _REFUSED.search(text):
        raise NameRefused("must not contain control, invisible or direction-changing characters")
    name = unicodedata.normalize("NFC", text)
    if len(name) > MAX_CODE_POINTS:
        raise NameRefused(f"must have at most {MAX_CODE_POINTS} characters")
    if name != name.strip():
        raise NameRefused("must not begin or end with a blank")
    return name


def canonical_device(text: str) -> str:
    """Return a device name in its stored form: as `canonical`, and `all` is none.

    Raises:
        NameRefused: as `canonical`, or the name is `all`, which stands for every device in the wire's paths.
    """
    name = canonical(text)
    if name == "all":
        raise NameRefused("must not be 'all'")
    return name
