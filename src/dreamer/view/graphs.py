"""The parts of an agent that the page runs, as ONNX.

| graph | inputs | outputs |
|---|---|---|
| `imagine` | `stoch` `(N, S)`, `deter` `(N, D)`, `action` `(N, A)`, `noise` `(N, S)` | the two afterward, and `std` |
| `look` | `stoch`, `deter` | `rgba` `(N, H, W, 4)` uint8, `reward`, `value` |
| `act` | `stoch`, `deter`, `noise` `(N, K A)` | `action` `(N, A)`, the mode |

`std` `(N,)` is the mean standard deviation of the prior: how much the model leaves open. PlaNet has no `act`, and only
Dreamer has a `value`.
"""

import torch
from torch import Tensor, nn

from dreamer.agents.agent import Agent
from dreamer.agents.dreamer import Dreamer
from dreamer.agents.no_value import NoValue
from dreamer.agents.planet import PlaNet
from dreamer.behavior.actor import Actor
from dreamer.errors import UserError
from dreamer.export.onnx import mode, mode_noise, to_onnx
from dreamer.types import ActionSpec
from dreamer.world_model.mlp import ScalarMLP
from dreamer.world_model.rssm import RSSM, State
from dreamer.world_model.world_model import WorldModel


class Imagine(nn.Module):
    """One step of the transition model."""

    def __init__(self, rssm: RSSM):
        super().__init__()
        self.rssm = rssm

    def forward(self, *inputs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        stoch, deter, action, noise = inputs
        state = self.rssm.imagine_step(State(stoch, stoch, stoch, deter), action, noise)
        return state.stoch, state.deter, state.std.mean(-1)


class Look(nn.Module):
    """What a latent state looks like, and what it is worth."""

    def __init__(self, world_model: WorldModel, value: ScalarMLP | None, image: str):
        super().__init__()
        self.decoder = world_model.decoder.networks[world_model.decoder.keys.index(image)]
        self.reward, self.value = world_model.reward, value
        self.outputs = ["rgba", "reward", *(["value"] if value else [])]

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        feat = torch.cat(inputs, -1)  # stoch, deter
        image = ((self.decoder(feat) + 0.5).clamp(0, 1) * 255).round()  # (N, H, W, C)
        gray = image.shape[-1] == 1
        rgb = image.expand(-1, -1, -1, 3) if gray else image[..., -3:]
        rgba = torch.cat([rgb, torch.full_like(rgb[..., :1], 255)], -1).to(torch.uint8)
        scalars = [self.reward(feat), *([self.value(feat)] if self.value else [])]
        return (rgba, *scalars)


class Act(nn.Module):
    """The actor's mode."""

    def __init__(self, actor: Actor):
        super().__init__()
        self.actor = actor

    def forward(self, *inputs: Tensor) -> Tensor:
        stoch, deter, noise = inputs
        return mode(self.actor, torch.cat([stoch, deter], -1), noise)


def graphs(agent: Agent) -> dict[str, bytes]:
    """Return the ONNX model of each graph, of an agent on the CPU without `--fast`.

    Raises `UserError` if the agent imagines no images.
    """
    algorithm = world_of(agent)
    world_model, rssm = algorithm.world_model, algorithm.world_model.rssm
    rows, action = 2, agent.spec.action  # the exporter takes a size of 1 for a constant
    state = {"stoch": torch.zeros(rows, rssm.stoch), "deter": torch.zeros(rows, rssm.deter)}
    step = {"action": torch.zeros(rows, action.size), "noise": torch.zeros(rows, rssm.stoch)}
    value = algorithm.value if isinstance(algorithm, Dreamer) else None
    look = Look(world_model, value, image_of(agent))
    made = {
        "imagine": to_onnx(Imagine(rssm), state | step, ["next_stoch", "next_deter", "std"]),
        "look": to_onnx(look, state, look.outputs),
    }
    if not isinstance(algorithm, PlaNet):
        noise = {"noise": torch.zeros(rows, act_noise(action))}
        made["act"] = to_onnx(Act(algorithm.actor), state | noise, ["action"])
    return made


def act_noise(action: ActionSpec) -> int:
    """Return how many normal numbers `act` takes; at least one, since an input has a size."""
    return max(1, mode_noise(action))


def image_of(agent: Agent) -> str:
    """Return the name of the image that is shown: the first."""
    return next(iter(agent.spec.images))


def world_of(agent: Agent) -> Dreamer | NoValue | PlaNet:
    """Return the algorithm of an agent that imagines images. Raises `UserError` if it does not."""
    algorithm = agent.algorithm
    if not isinstance(algorithm, Dreamer | NoValue | PlaNet):
        raise UserError("This agent has no world model to look into: view a run of --agent dreamer.")
    if not agent.spec.images:
        raise UserError("This agent sees no images, so its dream shows none: view a run with --obs image.")
    if not agent.has_decoder:
        raise UserError(
            "This run has no decoder, so its dream cannot be drawn: train one with --video-every above 0."
        )
    return algorithm
