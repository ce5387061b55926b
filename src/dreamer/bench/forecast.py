"""How long a run will take and how much disk it will fill, from a few measured seconds."""

from dataclasses import dataclass

import torch

from dreamer.agents.make import make_agent
from dreamer.bench.measurement import seconds_per_call
from dreamer.bench.random_data import batch_for, random_observation
from dreamer.config import Config
from dreamer.fast.cuda_graph import warm_up
from dreamer.replay.make import bytes_per_agent_step
from dreamer.types import EnvSpec


@dataclass(frozen=True)
class AgentCost:
    """Seconds of one `update` and of one `action`, and the bytes of one `checkpoint`."""

    update: float
    action: float
    checkpoint: int


@dataclass(frozen=True)
class Forecast:
    """A whole run: its `hours`, how many of them are `learning`, its `updates`, and the bytes on `disk`."""

    hours: float
    learning: float
    updates: int
    disk: int


def time_agent(spec: EnvSpec, config: Config) -> AgentCost:
    """Measure the agent of `config` on random data, updated as a run updates it."""
    agent = make_agent(spec, config)
    obs, state, generator = random_observation(spec, 1), agent.initial_state(1), torch.Generator(agent.device)
    seconds = 0.0
    if agent.trainable:
        batch = batch_for(agent, config.replay)
        warm_up(agent, batch)
        seconds = seconds_per_call(lambda: agent.update(batch), agent.device)
    action = seconds_per_call(lambda: agent.policy(obs, state, True, generator), agent.device, 0.5)
    weights = sum(weight.nbytes for weight in agent.algorithm.parameters())
    return AgentCost(seconds, action, 3 * weights)  # a checkpoint has both moments of Adam, too


def forecast(config: Config, spec: EnvSpec, agent: AgentCost, env_seconds: float, cores: int) -> Forecast:
    """Predict the run of `config` where the agent costs this much and an environment step `env_seconds`."""
    training, environment = config.training, config.environment
    rounds = 1 + max(0, training.steps - training.prefill) // training.train_every
    updates = training.pretrain_model + training.pretrain_value + rounds * training.train_steps
    steps = training.steps / environment.repeat
    collect = steps * (env_seconds / min(environment.num_envs, cores) + agent.action / environment.num_envs)
    # Every evaluation episode is taken to last to the time limit.
    evaluations = (training.steps - 1) // training.eval_every if training.eval_every else 0
    episodes = evaluations * training.eval_episodes + training.final_episodes
    evaluate = episodes * environment.time_limit / environment.repeat * (env_seconds + agent.action)
    learning = updates * agent.update / 3600
    kept = min(steps, config.replay.replay_size or steps)
    disk = int(kept * bytes_per_agent_step(spec)) + 2 * agent.checkpoint  # the newest and the one before
    return Forecast(learning + (collect + evaluate) / 3600, learning, updates, disk)
