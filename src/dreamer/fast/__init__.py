"""The same numbers in less time.

`accelerate` gives the modules of an algorithm quicker methods for the same equations. Delete this folder, and what
`agents/make.py` takes from it, and the agent learns the same numbers, slower; `--no-fast` does so for one run. Each
trick is compared with the plain form, forward and backward, in `tests/fast/`; `docs/performance.md` has what each
brings.

| file | trick | where |
|---|---|---|
| `rssm_loops.py` | products that need no recurrent state are taken for all steps at once | CPU, GPU |
| `imagination.py` | the backward pass through imagination is written by hand | CPU |
| `conv_transpose.py`, `decoder.py` | transposed convolutions in quicker forms; images are compared as bytes | CPU |
| `overlap.py`, `optimizers.py` | model gradient and behavior learning on half of the cores each | CPU |
| `optimizers.py` | one fused kernel for Adam, and nothing that waits for the device | GPU |
| `malloc.py` | memory that was freed is kept by the process | CPU |
| `cuda_graph.py` | a whole update is one CUDA graph | GPU |
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
    """Give `algorithm`, in place, the quicker methods; weights, and what they are called, stay."""
    for module in algorithm.modules():
        module.__class__ = QUICKER.get(type(module), type(module))
    optimizers = getattr(algorithm, "optimizers", None)
    if isinstance(optimizers, Optimizers):
        optimizers.__class__ = FastOptimizers
        for adam in optimizers.optimizers.values():
            adam.__class__ = FastAdam
    keep_freed_memory()
