"""The command line: `lightning`, `dreamprvr` and `python -m dreamprvr` are the same program."""
