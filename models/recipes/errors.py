"""Failures that a person can mend, told in one sentence without a traceback."""

import sys


class Failure(Exception):
    """Something that went wrong outside the code; the text says what and how to mend it."""


def exit_code_of(action) -> int:
    """Runs `action` and gives its exit code; expected failures become one line on stderr and 1."""
    try:
        return action() or 0
    except Failure as failure:
        print(f"error: {failure}", file=sys.stderr)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        print(f"error: {where}{error.strerror or error}", file=sys.stderr)
    except KeyboardInterrupt:
        print("stopped; run it again to go on from here", file=sys.stderr)
        return 130
    return 1
