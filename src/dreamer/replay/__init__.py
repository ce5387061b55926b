"""The dataset of past episodes, kept on disk and sampled as sequences (paper, Algorithm 1, lines 1, 5 and 19)."""

from dreamer.replay.sampler import SequenceSampler
from dreamer.replay.store import Episode, EpisodeStore

__all__ = ["Episode", "EpisodeStore", "SequenceSampler"]
