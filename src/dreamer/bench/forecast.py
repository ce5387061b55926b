"""How long a run will take, and what memory and disk it needs, from a few measured seconds."""

from dataclasses import dataclass

from dreamer.agents.make import make_agent
from dreamer.bench.collecting import acting, seconds_per_step
from dreamer.bench.measurement import Timer, seconds_per_call
from dreamer.bench.random_data import batch_for
from dreamer.config import Config
from dreamer.fast.cuda_graph import warm_up
from dreamer.machine import cores
from dreamer.types import EnvSpec

SHORT, LONG = 0.4, 2.0
"""Seconds for which calls are repeated: before a run begins, and for `dreamer doctor`."""


@dataclass(frozen=True)
class AgentCost:
    """Seconds of one `update` and of one `action`."""

    update: float
    action: float


@dataclass(frozen=True)
class Forecast:
    """What a whole run takes: its `updates`, the seconds of one, and of all else (`acting`)."""

    frames: int
    updates: int
    update: float
    acting: float

    def seconds_left(self, env_step: int, grad_step: int) -> float:
        """Return the seconds from these counters on; acting and evaluations are spread evenly over the frames."""
        updates = max(0, self.updates - grad_step)
        return updates * self.update + max(0.0, 1 - env_step / self.frames) * self.acting


def time_agent(spec: EnvSpec, config: Config, budget: float = LONG) -> AgentCost:
    """Measure the agent of `config` on random data, updated as a run updates it, for `budget` seconds."""
    agent = make_agent(spec, config)
    seconds = 0.0
    if agent.trainable:
        batch = batch_for(agent, config.replay)
        warm_up(agent, batch)
        seconds = seconds_per_call(lambda: agent.update(batch), agent.device, budget)
    action = acting(Timer(agent.device), agent, 1).median
    return AgentCost(seconds, action)


def forecast(config: Config, agent: AgentCost, env_seconds: float, cores: int) -> Forecast:
    """Predict the run of `config` where the agent costs this much and an environment step `env_seconds`."""
    training, environment = config.training, config.environment
    rounds = 1 + max(0, training.steps - training.prefill) // training.train_every
    updates = training.pretrain_model + training.pretrain_value + rounds * training.train_steps
    steps = training.steps / environment.repeat
    collect = steps * (env_seconds / min(environment.num_envs, cores) + agent.action / environment.num_envs)
    # Every evaluation episode is taken to last to the time limit.
    episodes = training.evaluations * training.eval_episodes + training.final_episodes
    evaluate = episodes * environment.time_limit / environment.repeat * (env_seconds + agent.action)
    return Forecast(training.steps, updates, agent.update, collect + evaluate)


def predict(config: Config, spec: EnvSpec, budget: float = SHORT) -> Forecast:
    """Predict the run of `config` from about `budget` seconds of each of its parts.

    A user's own environment (`gym:`) takes no step for it, and counts nothing: it may hang, fail, or be a robot.
    """
    own = config.environment.env.startswith("gym:")
    env_seconds = 0.0 if own else seconds_per_step(config.environment, budget)
    return forecast(config, time_agent(spec, config, budget), env_seconds, cores())
