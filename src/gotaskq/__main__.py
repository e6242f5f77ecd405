"""`python -m gotaskq`: the command line."""

from gotaskq.cli.main import main

if __name__ == "__main__":
    main()
