"""What libraries say of a failure, as part of a line of ours.

Some advise what must not be done with files of unknown origin.
"""

from __future__ import annotations

LONGEST = 600
"""Characters of a message; libraries may quote all of a file."""
_IN_OUR_WORDS = {
    "trust_remote_code": "it needs program code that came with it, which is never run",
    "weights_only": "it is a pickle of more than tensors, which could run code and is not opened",
    "custom code": "it needs program code that came with it, which is never run",
    "install `kernels`": "it asks for a kernel of the hub, which is never fetched",
    "allow_all_kernels": "it asks for a kernel of the hub, which is never fetched",
}


def one_line(error: BaseException) -> str:
    """The message of ``error``, without line breaks and without advice to run foreign code."""
    said = str(error)
    for word, instead in _IN_OUR_WORDS.items():
        if word in said:
            return instead
    text = " ".join(said.split()) or type(error).__name__
    return text if len(text) <= LONGEST else f"{text[:LONGEST]} ..."


def described(error: BaseException) -> str:
    """Type and message of ``error``."""
    return f"{type(error).__name__}: {one_line(error)}"
