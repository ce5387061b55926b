"""The same equations in less time: the numbers are the same up to rounding.

`accelerate` gives the modules of an algorithm quicker methods. Without this folder, and without the lines of
`agents/make.py` that use it, the agent would learn the same up to rounding, but more slowly; `--no-fast` leaves it out
for one run. Each trick is compared with the plain form, forward and backward, in `tests/fast/`. How much time
each saves is in `docs/performance.md`.

| file | trick | where |
|---|---|---|
| `rssm_loops.py` | matrix products that need no recurrent state are computed for all steps at once | CPU, GPU |
| `imagination.py` | the backward pass through imagination is written by hand | CPU |
| `conv_transpose.py`, `decoder.py` | transposed convolutions in quicker forms; images are compared as bytes | CPU |
| `overlap.py`, `optimizers.py` | the world model's gradient and behavior learning use half of the cores each | CPU |
| `optimizers.py` | Adam is one fused kernel, and nothing waits for the device | GPU |
| `malloc.py` | the process keeps memory that was freed | CPU |
| `cuda_graph.py` | a whole update is one CUDA graph | GPU |

Where batches are read from files, `--no-fast` also draws each only when it is needed: `DiskFeed` in place of
`Prefetcher`, both in `dreamer.replay.feed`. A GPU that holds the replay has `DeviceReplay` either way.
"""

from torch import nn

from dreamer.agents.dreamer import Dreamer
from dreamer.agents.no_value import NoValue
from dreamer.agents.optimizers import Optimizers
from dreamer.fast.decoder import FastImageDecoder
from dreamer.fast.malloc import keep_freed_memory
from dreamer.fast.optimizers import FastAdam, FastOptimizers
from dreamer.fast.overlap import FastDreamer, FastNoValue, FastWorldModel
from dreamer.fast.rssm_loops import FastRSSM
from dreamer.world_model.decoder import ImageDecoder
from dreamer.world_model.rssm import RSSM
from dreamer.world_model.world_model import WorldModel

QUICKER: dict[type[nn.Module], type[nn.Module]] = {
    RSSM: FastRSSM,
    ImageDecoder: FastImageDecoder,
    WorldModel: FastWorldModel,
    Dreamer: FastDreamer,
    NoValue: FastNoValue,
}


def accelerate(algorithm: nn.Module) -> None:
    """Give `algorithm` the quicker methods, in place; its weights and their names stay as they are."""
    for module in algorithm.modules():
        module.__class__ = QUICKER.get(type(module), type(module))
    optimizers = getattr(algorithm, "optimizers", None)
    if isinstance(optimizers, Optimizers):
        optimizers.__class__ = FastOptimizers
        for adam in optimizers.optimizers.values():
            adam.__class__ = FastAdam
    keep_freed_memory()
