"""A trained run as one small file (see `dreamer.agents.policy`)."""

import dataclasses
from pathlib import Path

import torch

from dreamer.agents.agent import Agent
from dreamer.agents.model_based import ModelBasedAgent
from dreamer.agents.policy import Policy, PolicySizes, pack
from dreamer.config import to_flat
from dreamer.errors import UserError
from dreamer.replay.atomic_file import atomic_file
from dreamer.training.load import load_run


def export_run(run: Path, out: Path) -> None:
    """Write the policy of the newest checkpoint of `run` to `out`, whole or not at all.

    Raises `UserError` if there is none, if its agent has learned nothing, or if `out` cannot be written.
    """
    if not out.absolute().parent.is_dir():
        raise UserError(f"The directory of {out} does not exist: make it, or choose another --out.")
    trained = load_run(run, device="cpu")
    trained.envs.close()
    policy = policy_of(trained.agent)
    with atomic_file(out) as file:
        torch.save(pack(policy), file)


def policy_of(agent: Agent, seed: int = 0) -> Policy:
    """The agent's policy with a copy of its weights. Raises `UserError` if it has none."""
    if not isinstance(agent, ModelBasedAgent):
        raise UserError("The random agent has learned no policy to export: train another --agent.")
    options = to_flat(agent.config)
    sizes = PolicySizes(**{field.name: options[field.name] for field in dataclasses.fields(PolicySizes)})
    policy = Policy(agent.spec, sizes, seed, agent.device.type)
    modules = {
        "encoder": agent.world_model.encoder,
        "rssm": agent.world_model.rssm,
        "reward": agent.world_model.reward,
        "pcont": agent.world_model.pcont,
        "actor": getattr(agent.behavior, "actor", None),
    }
    for name, part in policy.named_children():
        if modules.get(name) is not None:
            part.load_state_dict(modules[name].state_dict())
    return policy
