"""The exception whose message the user reads, and the check that most settings need."""


class UserError(Exception):
    """Bad input. The message says in one line what is wrong, where, and what to do about it.

    The command line prints the message alone (no traceback) and exits with code 2.
    """


def check_range(name: str, value: object, least: float, most: float, whole: bool = False) -> None:
    """Raise unless a setting is a number within its limits.

    Args:
        name: name of the setting, as the user writes it.
        value: value of the setting.
        least: smallest value that is allowed.
        most: largest value that is allowed.
        whole: True if it must be a whole number.

    Raises:
        UserError: the value is not a number, not finite, or out of the limits.
    """
    kinds = int if whole else (int, float)
    if isinstance(value, bool) or not isinstance(value, kinds) or not least <= value <= most:
        shown = repr(value) if not isinstance(value, int) or abs(value) < 10**20 else "too large"
        kind = "a whole number" if whole else "a number"
        raise UserError(f"{name} is {shown}; it must be {kind} from {least:,} to {most:,}")


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, or the name of its type if it has none."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
