"""What counts as an answer: letters, processed words, agreement with people."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.questions.contractions import CONTRACTIONS
from harness.questions.intervals import normal, standard_error, wilson
from harness.questions.letters import option_letter, parse_letter, parse_sentence
from harness.questions.normalized_answer import normalized_answer
from harness.questions.vqa_accuracy import vqa_accuracy

LETTERS = [
    ("B", "b", "b"),
    ("b", "b", "b"),
    (" B\n", "b", "b"),
    ("B.", "b", "b"),
    ("B. two", "b", "b"),
    ("B.two", "b", "b"),
    ("b.", None, None),
    ("b. two", None, None),
    ("(B)", None, None),
    ("B)", None, None),
    ("B two", None, None),
    ("B\ntwo", None, None),
    ("A B", None, None),
    ("AB", None, None),
    ("A, B", None, None),
    ("A. B.", "a", "a"),
    ("two", None, None),
    ("", None, None),
    ("   ", None, None),
    ("Ä.", "ä", "ä"),
    ("Answer: B", None, None),
    ("The answer is B.", None, "b"),
    ("The answer is B. Two.", None, "b"),
    ("So: The answer is B!", None, "b"),
    ("The answer is B", None, None),
    ("the answer is B.", None, None),
    ("The answer is b.", None, None),
    ("The answer is A. The answer is B.", None, None),
    ("C. The answer is B.", "c", "c"),
]


@pytest.mark.parametrize(("answer", "letter", "sentence"), LETTERS)
def test_letters(answer, letter, sentence):
    assert parse_letter(answer) == letter
    assert parse_sentence(answer) == sentence


@given(st.integers(0, 25), st.sampled_from(["{}", "{}.", "{}. word", " {} "]))
def test_every_option_is_recognised(index, form):
    letter = option_letter(index)
    assert parse_letter(form.format(letter)) == letter.lower()


@given(st.text(max_size=20))
def test_what_letter_accepts_sentence_accepts_too(answer):
    letter = parse_letter(answer)
    assert letter is None or parse_sentence(answer) == letter


PROCESSED = [
    ("Nokia", "nokia"),
    ("NOKIA!", "nokia"),
    ("Nokia.", "nokia"),
    ("the nokia", "nokia"),
    ("The  Big\tApple\n", "big apple"),
    ("a an the", ""),
    ("", ""),
    ("   ", ""),
    ("none", "0"),
    ("Two", "2"),
    ("ten", "10"),
    ("eleven", "eleven"),
    ("twenty-two", "twenty 2"),
    ("1,000", "1000"),
    ("3.5", "3.5"),
    ("3.", "3"),
    (".5", ".5"),
    ("U.S.A.", "usa"),
    ("12:30", "12:30"),
    ("50%", "50%"),
    ("$5", "$5"),
    ("black/white", "black white"),
    ("black / white", "black white"),
    ("e-mail", "e mail"),
    ("e- mail-box", "e mailbox"),
    ("what?", "what"),
    ("yes, please", "yes please"),
    ("dont", "don't"),
    ("Don't", "don't"),
    ("couldntve", "couldntve"),
    ("couldnt've", "couldn't've"),
    ("couldn'tve", "couldn't've"),
    ("yall'd've", "y'all'd've"),
    ("dog's", "dog 's"),
    ("somebody'd", "somebodyd"),
    ("im", "im"),
    ("don’t", "don’t"),
    ("CAFÉ", "café"),
    ("İstanbul", "i̇stanbul"),
    ("日本 です", "日本 です"),
    ("x" + "." * 40, "x" + "." * 8),
]


@pytest.mark.parametrize(("answer", "expected"), PROCESSED)
def test_processed(answer, expected):
    assert normalized_answer(answer) == expected


@given(st.text(max_size=30))
def test_processing_gives_lower_case_words(answer):
    once = normalized_answer(answer)
    assert once == once.lower() == " ".join(once.split())
    assert not {"a", "an", "the"} & set(once.split())


@given(st.text(max_size=30), st.sampled_from([" ", "\n", "\t", "  "]))
def test_white_space_around_an_answer_is_nothing(answer, space):
    assert normalized_answer(space + answer + space) == normalized_answer(answer)


def test_contractions_are_words_that_processing_leaves_whole():
    assert len(CONTRACTIONS) > 100
    for short, whole in CONTRACTIONS.items():
        assert short.replace("'", "") == whole.replace("'", "")
        if "'s" not in short:
            assert normalized_answer(short.upper()) == whole


TEN = ["nokia"] * 4 + ["nokia phone"] * 3 + ["htc", "2", "two"]
AGREEMENT = [
    ("nokia", 1.0),
    ("Nokia.", 1.0),
    ("the nokia", 1.0),
    ("nokia phone", 0.9),
    ("two", 0.6),
    ("2", 0.6),
    ("htc", 0.3),
    ("samsung", 0.0),
    ("", 0.0),
]


@pytest.mark.parametrize(("answer", "expected"), AGREEMENT)
def test_agreement_with_ten_people(answer, expected):
    assert vqa_accuracy(answer, TEN) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(("people", "expected"), [(1, 0), (2, 1 / 3), (3, 2 / 3), (4, 1), (5, 1)])
def test_fewer_people_who_all_agree(people, expected):
    assert vqa_accuracy("yes", ["yes"] * people) == pytest.approx(expected)


def brute_force(answer: str, people: list[str]) -> float:
    """The rule as its authors put it: leave each person out in turn."""
    left_out = itertools.combinations(people, len(people) - 1)
    scores = [min(Fraction(others.count(answer), 3), Fraction(1)) for others in left_out]
    return float(sum(scores) / len(scores))


words = st.sampled_from(["red", "blue", "green"])


@given(words, st.lists(words, min_size=1, max_size=12))
def test_agreement_is_the_mean_over_people_left_out(answer, people):
    assert vqa_accuracy(answer, people) == pytest.approx(brute_force(answer, people), abs=1e-12)


@given(words, st.lists(words, min_size=1, max_size=12), st.randoms())
def test_the_order_of_people_does_not_matter(answer, people, chance):
    shuffled = list(people)
    chance.shuffle(shuffled)
    assert vqa_accuracy(answer, people) == vqa_accuracy(answer, shuffled)
    assert 0 <= vqa_accuracy(answer, people) <= 1


def wilson_by_bisection(right: int, n: int) -> tuple[float, float]:
    """Where the score test of a share just does not reject."""

    def rejects(share: float) -> bool:
        return abs(right / n - share) > 1.959963984540054 * math.sqrt(share * (1 - share) / n)

    ends = []
    for end in (0.0, 1.0):
        inside, outside = right / n, end
        for _ in range(200):
            middle = (inside + outside) / 2
            inside, outside = (inside, middle) if rejects(middle) else (middle, outside)
        ends.append(inside)
    return ends[0], ends[1]


@given(st.integers(1, 60).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_inverts_the_score_test(counts):
    right, n = counts
    low, high = wilson([1.0] * right + [0.0] * (n - right))
    assert 0 <= low <= right / n <= high <= 1
    assert (low, high) == pytest.approx(wilson_by_bisection(right, n), abs=1e-6)


def test_normal_interval():
    scores = [0.3, 0.6, 0.9, 0.6]
    error = math.sqrt(0.18 / 3 / 4)
    assert standard_error(scores) == pytest.approx(error)
    assert normal(scores) == pytest.approx((0.6 - 1.96 * error, 0.6 + 1.96 * error), abs=1e-4)
    assert normal([0.0, 1.0]) == (0, 1)
    assert normal([0.5]) is None
    assert standard_error([0.5]) is None
