"""Subscripts: z_i in the text of a page is shown with a lowered i. Code stays as it is."""

from __future__ import annotations

import re
from typing import Any

CODE_OR_TAG = re.compile(r"(<pre\b.*?</pre>|<code\b.*?</code>|<[^>]*>)", re.DOTALL)
EXPECTATION = re.compile(r"\bE_(q|p)(\([^()]*\))")
SYMBOL = re.compile(r"(?<!\w)([A-Za-zΣσμ])_([A-Za-z0-9])(?!\w)")


def on_page_content(content: str, **_: Any) -> str:
    """The page with subscripts in its text."""
    parts = CODE_OR_TAG.split(content)  # text at even places
    parts[::2] = [SYMBOL.sub(r"\1<sub>\2</sub>", EXPECTATION.sub(r"E<sub>\1\2</sub>", text)) for text in parts[::2]]
    return "".join(parts)
