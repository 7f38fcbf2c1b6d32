"""What TVM throws, as one line for people.

In ir.Op(span=None, ..., name="relax.divide", ...), the first input shape at dim 1 is T.int64(4) ...
--> In divide, the first input shape at dim 1 is 4 ...

Check failed: (x->shape.size() == 4) is false: conv2d takes 4 axes
--> conv2d takes 4 axes
"""

from __future__ import annotations

import re

LONGEST = 400
"""Characters of a message: several lines of a terminal, and less than what TVM prints of a module."""

_OPERATOR = re.compile(r'\bname="(?:relax\.)?(?:nn\.|image\.)?(?P<name>[^"]*)"')
_LOCATION = re.compile(r"(?:\[\d\d:\d\d:\d\d\]\s*)?\S*\.(?:cc|cpp|h):\d+:?\s*")
_CHECK = re.compile(r"(?:InternalError: )?Check failed: ?")
_NUMBER = re.compile(r"\bT\.(?:u?int|float|bool)\d*\((?P<value>[^()]*)\)")
_TENSOR = re.compile(r'\bR\.Tensor\(\((?P<shape>[^()]*)\),? ?(?:dtype="(?P<dtype>\w+)")?\)')
_SHAPE = re.compile(r"\bR\.shape\((?P<shape>\[[^\[\]]*\])\)")
_RECORD = "ir.Op("


def plain(error: BaseException) -> str:
    """Return the error's message as one line without TVM's records, C++ sources and failed conditions.

    An error without a message gives the name of its class. What else TVM prints, such as a whole module behind the
    message, is cut off.
    """
    text = str(error).strip()
    if not text:
        return type(error).__name__
    text = _without_check(_LOCATION.sub("", _without_records(text)))
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    line = " ".join(lines[:1]) or type(error).__name__
    line = _NUMBER.sub(lambda match: match["value"], line)
    line = _TENSOR.sub(_tensor, line)
    line = _SHAPE.sub(lambda match: match["shape"], line)
    if isinstance(error, KeyError):
        line = f"{line} is missing"
    return line if len(line) <= LONGEST else line[: LONGEST - 3] + "..."


def _tensor(match: re.Match[str]) -> str:
    extents = ",".join(extent.strip() for extent in match["shape"].split(",") if extent.strip())
    return f"{match['dtype'] or ''}[{extents}]"


def _without_records(text: str) -> str:
    """Put its name in the place of each operator's record."""
    while (start := text.find(_RECORD)) >= 0:
        end = _closing(text, start + len(_RECORD))
        name = _OPERATOR.search(text[start:end])
        text = text[:start] + (name["name"] if name else "an operator") + text[end:]
    return text


def _closing(text: str, start: int) -> int:
    """Return the place behind the parenthesis that closes the one before ``start``."""
    depth = 1
    for place in range(start, len(text)):
        depth += {"(": 1, ")": -1}.get(text[place], 0)
        if depth == 0:
            return place + 1
    return len(text)


def _without_check(text: str) -> str:
    """``Check failed: (a == b) is false: message`` --> ``message``; without a message ``a == b does not hold``."""
    match = _CHECK.search(text)
    if match is None:
        return text
    rest = text[match.end() :]
    condition, found, message = rest.partition(" is false:")
    if not found:
        condition, found, message = rest.partition(" : ")
    if message.strip():
        return message.strip()
    condition = condition.strip().removesuffix(" is false").strip(" :")
    if condition.startswith("(") and _closing(condition, 1) == len(condition):
        condition = condition[1:-1]
    return f"{condition} does not hold"
