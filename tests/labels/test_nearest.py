"""The name that the user may have meant."""

import pytest

from ccvae.labels.nearest import did_you_mean, nearest

NAMES = ["Wearing_Hat", "Smiling", "Male", "file 12", "hat", "hot"]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Smilling", "Smiling"),
        ("wearing hat", "Wearing_Hat"),
        ("WEARING-HAT", "Wearing_Hat"),
        ("wearinghat", "Wearing_Hat"),
        ("hat ", "hat"),
        ("h a-t", "hat"),
        ("file 72", None),
        ("file  12", "file 12"),
        ("fil 12", "file 12"),
        ("beard", None),
        ("", None),
    ],
)
def test_the_nearest_name(name: str, expected: str | None) -> None:
    assert nearest(name, NAMES) == expected


def test_a_name_that_differs_by_case_only_comes_before_a_more_similar_one() -> None:
    assert nearest("abcdefgh", ["abcdefgi", "A B C D E F G H"]) == "A B C D E F G H"
    assert nearest("abcdefgh", ["xyz", "abcdefgi"]) == "abcdefgi"


def test_how_similar_a_name_must_be_can_be_said() -> None:
    assert nearest("abcd", ["abxy"], close=0.4) == "abxy"
    assert nearest("abcd", ["abxy"]) is None
    assert did_you_mean("abcd", ["abxy"], close=0.4) == " (did you mean 'abxy'?)"


def test_numbers_are_near_to_no_name() -> None:
    assert did_you_mean("12", ["12a", "123"]) == did_you_mean(3.5, ["3.55"]) == did_you_mean("  ", ["a"]) == ""
    assert did_you_mean("beard", NAMES) == ""
    assert did_you_mean(" male ", NAMES) == " (did you mean 'Male'?)"
    assert did_you_mean("thre", ["three", 3]) == " (did you mean 'three'?)"
