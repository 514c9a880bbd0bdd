"""`python -m eigenline`: the command line, also from a checkout that was not installed."""

from eigenline.command.main import main

main()
