"""`python -m mikeytool` is the command `mikeytool`."""

import signal


def main() -> None:
    """Run the command. Ctrl-C ends it quietly, even before it can say how to end."""
    usual = signal.getsignal(signal.SIGINT)
    if usual is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from mikeytool.cli.main import main as command

    signal.signal(signal.SIGINT, usual)
    command()


if __name__ == "__main__":
    main()
