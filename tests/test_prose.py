"""Plain field English: turns of phrase that the code and its documents do not use, and what to write instead."""

import re
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
BANNED = {
    r"\b(bear|bears|bearing|borne)\b": "have, show",
    r"\b(dear|dearer|dearest)\b": "expensive",
    r"\b(alike|likewise)\b": "the same way",
    r"\b(whoever|whosoever|whatsoever|whence|thence|hence|herein|thereof|whereof|wherein|lest|ere|nay|albeit)\b": "plain words",
    r"\bso many\b": "a number",
    r"\banew\b": "again",
    r"\bthat hold or\b|\blabels? (that )?(hold|holds)\b|\bholds or does not\b": "present, absent",
    r"\bdo(es)? not hold\b": "absent, or is not true",
    r"\bfound by itself\b|\bgoes by itself\b": "automatically",
    r"\band be told\b": "passive rewritten",
    r"\bare his\b": "belong to",
    r"\bnats a (row|face)\b": "nats per row",
    r"\b(rows?|steps?) a (step|second|batch)\b": "per step",
    r"\bbut (for )?(such|so)\b": "except",
    r"\bin torch's words\b": "as in torch",
    r"\bone by one\b": "one at a time",
    r"\btell(s)? its\b": "shows its",
    r"\bmade anew\b": "made again",
    r"\bgo(es)? on (from|with|where)\b": "continue(s)",
    r"\bat hand\b": "current",
}
FILES = [
    *sorted((REPOSITORY / "src").rglob("*.py")),
    *sorted((REPOSITORY / "src").rglob("*.html")),
    *sorted((REPOSITORY / "docs").rglob("*.md")),
    REPOSITORY / "README.md",
    REPOSITORY / "CONTRIBUTING.md",
]


def room_of(path: Path) -> str:
    """A room of the package, or a document."""
    inside = path.relative_to(REPOSITORY)
    return inside.parts[2].removesuffix(".py") if inside.parts[0] == "src" else inside.as_posix()


def found_in(path: Path) -> list[str]:
    """Banned turns of a file, with their lines and what to write instead."""
    return [
        f"{path.relative_to(REPOSITORY)}:{number}: {found[0]!r}; write: {instead}"
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        for turn, instead in BANNED.items()
        for found in re.finditer(turn, line, re.IGNORECASE)
    ]


@pytest.mark.parametrize("room", sorted({room_of(path) for path in FILES}))
def test_prose_is_plain(room: str) -> None:
    assert not [line for path in FILES if room_of(path) == room for line in found_in(path)]


@pytest.mark.parametrize(
    "turn", ["rows that bear labels", "dearer", "all alike", "drawn anew", "labels that hold", "nats a row"]
)
def test_banned_turns_are_found(turn: str) -> None:
    assert any(re.search(pattern, turn, re.IGNORECASE) for pattern in BANNED)


@pytest.mark.parametrize("turn", ["beard", "hold rows", "a fresh rank", "nats per row", "threshold", "deadline"])
def test_other_words_are_left_alone(turn: str) -> None:
    assert not any(re.search(pattern, turn, re.IGNORECASE) for pattern in BANNED)
