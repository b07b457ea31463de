"""Contractions that the VQA answer processor spells out again, from its published table.

Left out are entries that no processed word can be: those in capitals and those with ``'s``.
"""

from __future__ import annotations

_SPELLED_WITHOUT = (
    "ain't aren't can't could've couldn't didn't doesn't don't hadn't hasn't haven't he'd he's "
    "how'd how'll how's isn't it'd it'll ma'am mightn't might've mustn't must've needn't not've "
    "o'clock oughtn't shan't should've shouldn't somebody'll somebody's someone'd someone'll "
    "someone's something'd something'll that's there'd there're there's they'd they'll they're "
    "they've 'twas wasn't we've weren't what'll what're what's what've when's where'd where's "
    "where've who'd who'll who's who've why'll why're why's won't would've wouldn't y'all you'd "
    "you'll you're you've"
)
"""Recognised when written without the apostrophe."""

_ONE_MISSING = (
    "couldn't've hadn't've he'd've it'd've mightn't've 'ow's'at she'd've shouldn't've "
    "somebody'd've someone'd've something'd've there'd've they'd've we'd've who'd've wouldn't've "
    "y'all'll y'all'd've you'd've"
)
"""Recognised when exactly one of the apostrophes is missing."""

CONTRACTIONS = {
    **{word.replace("'", ""): word for word in _SPELLED_WITHOUT.split()},
    **{
        word[:at] + word[at + 1 :]: word
        for word in _ONE_MISSING.split()
        for at, letter in enumerate(word)
        if letter == "'"
    },
    # The published table has this one the wrong way round.
    "somebody'd": "somebodyd",
}
