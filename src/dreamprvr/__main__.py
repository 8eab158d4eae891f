"""`python -m dreamprvr`, which torchrun needs."""

from dreamprvr.cli.main import main

if __name__ == "__main__":
    main()
