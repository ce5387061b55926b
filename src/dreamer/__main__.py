"""`python -m dreamer` is `dreamer`."""

from dreamer.cli import main

main()
