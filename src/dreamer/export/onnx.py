"""A trained policy, or any part of an agent, as ONNX: a file that runs without PyTorch and without this package.

PyTorch's exporter traces the networks themselves, so there is no second implementation of them. Randomness stays an
input, as everywhere in this package.
"""

import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from dreamer.agents.agent import Agent
from dreamer.agents.dreamer import Dreamer
from dreamer.agents.make import make_agent
from dreamer.agents.no_value import NoValue
from dreamer.behavior.actor import MODE_SAMPLES, Actor
from dreamer.config import with_options
from dreamer.errors import UserError
from dreamer.export.policy import ACTS_ALIKE
from dreamer.types import ActionSpec, EnvSpec
from dreamer.world_model.rssm import State

OPSET = 18
"""The exporter's own; every runtime of the last years knows it."""
OWN_INPUTS = {"memory", "noise"}
"""Inputs of a policy besides the observations."""
MISSING = "ONNX needs packages that are not installed: run `pip install 'dream-to-control[onnx]'`."


def policy_onnx(agent: Agent) -> bytes:
    """Return the policy of a trained agent as an ONNX model that has passed `onnx.checker`.

    | input | shape | |
    |---|---|---|
    | each observation, by its name | `(N, H, W, C)` uint8, or `(N, n)` | |
    | `memory` | `(N, S + D + A)` | zeros at the beginning of an episode, then the `next_memory` before |
    | `noise` | `(N, S)`, or `(N, S + 100 A)` if actions are continuous | standard normal numbers |

    Outputs are `action` `(N, A)`, the mode as in evaluation, and `next_memory`. The metadata name the environment and
    the frames for which an action is meant.

    Raises `UserError` if the agent has no actor in a world model, if an observation has the name of another input, or
    if a package is missing.
    """
    if not isinstance(agent.algorithm, Dreamer | NoValue):
        raise UserError(
            "Only the policy of --agent dreamer or no-value can be written as ONNX: let the name of --out end"
            " in .pt for this one."
        )
    if taken := OWN_INPUTS & {*agent.spec.images, *agent.spec.vectors}:
        raise UserError(f"ONNX has an input of its own called {min(taken)!r}: rename that observation.")
    config = with_options(agent.algorithm.config, {**ACTS_ALIKE, "device": "cpu"})
    algorithm = make_agent(agent.spec, config).algorithm
    assert isinstance(algorithm, Dreamer | NoValue)
    weights = agent.algorithm.state_dict()
    algorithm.load_state_dict({name: weights[name] for name in algorithm.state_dict()})
    graph = PolicyStep(algorithm)
    spec, rows = agent.spec, 2  # the exporter takes a size of 1 for a constant
    inputs = {key: torch.zeros(rows, *shape, dtype=torch.uint8) for key, shape in spec.images.items()}
    inputs |= {key: torch.zeros(rows, size) for key, size in spec.vectors.items()}
    inputs |= {"memory": torch.zeros(rows, graph.memory), "noise": torch.zeros(rows, graph.noise)}
    environment = config.environment
    facts = {"env": environment.env, "action_repeat": str(environment.repeat)}
    return to_onnx(graph, inputs, ["action", "next_memory"], facts)


class PolicyStep(nn.Module):
    """One step of the filter, then the actor's mode, as a function of tensors alone."""

    def __init__(self, algorithm: Dreamer | NoValue):
        super().__init__()
        self.spec: EnvSpec = algorithm.spec
        self.world_model, self.actor = algorithm.world_model, algorithm.actor
        rssm = self.world_model.rssm
        self.sizes = [rssm.stoch, rssm.deter, self.spec.action.size]
        self.memory = sum(self.sizes)
        self.noise = rssm.stoch + mode_noise(self.spec.action)

    def forward(self, *inputs: Tensor) -> tuple[Tensor, Tensor]:
        *observation, memory, noise = inputs
        stoch, deter, action = memory.split(self.sizes, -1)
        embed = self.world_model.encoder(dict(zip(self.world_model.encoder.keys, observation, strict=True)))
        before = State(stoch, stoch, stoch, deter)  # mean and std before a step do not matter
        latent, _ = self.world_model.rssm.observe_step(before, action, embed, noise[:, : self.sizes[0]])
        action = mode(self.actor, latent.feat, noise[:, self.sizes[0] :])
        return action, torch.cat([latent.feat, action], -1)


def mode_noise(action: ActionSpec) -> int:
    """Return how many normal numbers the actor's mode needs for one action."""
    return 0 if action.discrete else MODE_SAMPLES * action.size


def mode(actor: Actor, feat: Tensor, noise: Tensor) -> Tensor:
    """The actor's mode `(N, A)` at `feat` `(N, F)`; the noise `(N, K A)` holds the samples of each row in turn."""
    if not actor.action.discrete:
        noise = noise.unflatten(-1, (-1, actor.action.size)).transpose(0, 1)  # (K, N, A)
    return actor(feat).mode(noise)


def to_onnx(
    graph: nn.Module,
    inputs: Mapping[str, Tensor],
    outputs: Sequence[str],
    facts: Mapping[str, str] | None = None,
) -> bytes:
    """Trace `graph`, whose `forward` takes `*inputs`; their first axis, of size 2 or more, may later have any size.

    Raises `UserError` if a package is missing.
    """
    try:
        import onnx
        import onnxscript  # noqa: F401  # the exporter wants it
    except ImportError as error:
        raise UserError(MISSING) from error
    batch = torch.export.Dim("batch")
    with quietly(), torch.no_grad():
        program = torch.onnx.export(
            graph.eval(),
            tuple(inputs.values()),
            input_names=list(inputs),
            output_names=list(outputs),
            opset_version=OPSET,
            dynamic_shapes=(tuple({0: batch} for _ in inputs),),
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    model = program.model_proto
    for node in model.graph.node:
        node.ClearField("metadata_props")  # the exporter's notes, with paths of this machine
    onnx.helper.set_model_props(model, dict(facts or {}))
    onnx.checker.check_model(model, full_check=True)
    return model.SerializeToString()


@contextmanager
def quietly() -> Iterator[None]:
    """Keep back the exporter's remarks on its own internals, and on packages that nothing here needs."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
