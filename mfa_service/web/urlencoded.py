"""Percent-encoding, decoded once and strictly (RFC 3986 §2.1, and the form encoding of RFC 6749 appendix B)."""

import re
from urllib.parse import unquote_to_bytes

_WELL_FORMED = re.compile(r"(?:[^%]|%[0-9A-Fa-f]{2})*", re.ASCII | re.DOTALL)


def percent_decoded(text: str) -> str:
    """Return a percent-encoded text decoded once.

    Args:
        text: ASCII in which every `%` is followed by two hexadecimal digits.

    Raises:
        ValueError: it is not that, or decodes to something that is not UTF-8; the text tells no part of it.
    """
    if not text.isascii() or not _WELL_FORMED.fullmatch(text):
        raise ValueError("must be percent-encoded UTF-8")
    if "%" not in text:
        return text
    try:
        return unquote_to_bytes(text).decode("utf-8")
    except UnicodeDecodeError:
        raise ValueError("must be percent-encoded UTF-8") from None


def form_decoded(text: str) -> str:
    """Return a form-encoded text decoded once: as `percent_decoded`, and `+` is a blank.

    Raises:
        ValueError: as `percent_decoded`.
    """
    return percent_decoded(text.replace("+", " "))


def form_pairs(text: str, *, most: int) -> list[tuple[str, str]]:
    """Return the fields of a form or a query in their order.

    Args:
        text: fields joined by `&`, each a name, or a name and a value joined by the first `=`.
        most: how many fields are read.

    Raises:
        ValueError: there are more, or one is not form-encoded UTF-8.
    """
    fields = text.split("&", most)
    if len(fields) > most:
        raise ValueError(f"must have at most {most} fields")
    pairs = []
    for field in fields:
        if field:
            name, _, value = field.partition("=")
            pairs.append((form_decoded(name), form_decoded(value)))
    return pairs
