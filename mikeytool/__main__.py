"""`python -m mikeytool` is the command `mikeytool`."""

from mikeytool.cli.main import main

if __name__ == "__main__":
    main()
