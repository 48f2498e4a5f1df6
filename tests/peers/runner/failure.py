"""What ends a bench, told in one sentence."""


class Failure(Exception):
    """Says what is wrong and what to do about it."""
