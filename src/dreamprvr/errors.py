"""The one exception that a user is meant to read."""


class UserError(Exception):
    """Bad input, said in one line: what is wrong, where, and what to do about it.

    The command line prints the message alone (no traceback) and exits with code 2.
    """
