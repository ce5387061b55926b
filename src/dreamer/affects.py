"""What a change of an option affects."""

from enum import Enum


class Affects(Enum):
    """What a change of an option affects.

    It decides whether a resumed run may change the option, and whether runs that differ in it may be
    averaged in a plot or compared by `dreamer bench`:

        affects       resumed run         plot        bench
        EVERYTHING    may not change it   compares    compares
        LEARNING      may not change it   compares    ignores
        UPDATES       may, with warning   compares    ignores
        SPEED         may change it       ignores     compares
        NOTHING       may change it       ignores     ignores

    A plot also ignores the seed, because it averages over seeds.
    """

    EVERYTHING = "what is learned and how long everything takes"
    LEARNING = "what is learned, from the start of the run on"
    UPDATES = "how updates are computed; each figure of `dreamer bench` is of one way"
    SPEED = "how long something takes"
    NOTHING = "only the length of the run, what is recorded, or where it runs"
