"""D4PG's actors on the nodes of a Ray cluster (`--ray`): each is a process with an environment and a policy of its own.

The learner has no environments. It sends the actors fresh weights when a round of updates begins, and asks all of them
for one agent step after the other: they choose the actions themselves, and what comes back is what these led to. The
rest is as without Ray: `AsyncCollector` collects a round while the learner takes the updates of the round before, so
the ratio of updates to frames is exact, and `Collector` keeps the episodes, so results depend on no timing.

An actor that dies, hangs or raises is a failed environment (`EnvError`): what its episode has so far is kept, and a new
actor with the same weights begins another. Actor i of N has i / N of the noise (Barth-Maron et al. 2018; Tassa et al.
2018).
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dreamer.agents.make import make_agent
from dreamer.config import Config, with_options
from dreamer.envs.failures import EnvError
from dreamer.envs.make import make_env
from dreamer.envs.spec import spec_of
from dreamer.envs.vector import VectorEnv
from dreamer.envs.worker import StepResult, Worker, failure, register, registration_of, take_step
from dreamer.own_code import refuse_code_of_runs
from dreamer.ray_cluster import join, load_ray
from dreamer.training.collect import Collector
from dreamer.types import EnvSpec

CORE, LITTLE = 0.9, 0.01
"""Cores that an actor takes if the cluster has one for each, and if not. The successor of an actor, whose node may be
gone, takes as little too: every node with cores has that left."""


class Actor:
    """An environment and a policy that acts in it, in a process of Ray.

    `config` is the actor's own: with its share of the noise, and one environment.
    """

    def __init__(self, config: Config, seed: int, registration: bytes | None, folder: Path):
        self.config, self.seed, self.registration, self.folder = config, seed, registration, folder

    def do(self, command: str, argument: Any) -> Any:
        """Carry out a command: the name of a method below, and its argument. Return what it does, or a `Failure`."""
        try:
            return getattr(self, command)(argument)
        except Exception as error:
            return failure(error, "in Ray's logs")

    def start(self, _: None) -> EnvSpec:
        """Make environment and agent."""
        refuse_code_of_runs()
        if self.folder.is_dir() and str(self.folder) not in sys.path:
            sys.path.append(str(self.folder))  # modules of the user; last, as for `dreamer` itself
        torch.set_num_threads(1)
        register(self.config.environment.env, self.registration)
        self.env = make_env(self.config.environment, self.seed)
        self.agent = make_agent(spec_of(self.env), self.config)
        self.generator = torch.Generator()
        return self.agent.spec

    def load_weights(self, weights: dict[str, Any]) -> None:
        """Act with these weights from now on."""
        self.agent.load_acting_state(weights)

    def reset(self, seed: int) -> dict[str, np.ndarray]:
        """Begin an episode whose noise, too, follows from `seed`."""
        self.policy_state = self.agent.initial_state(1)
        self.generator.manual_seed(seed)
        self.obs = self.env.reset(seed=seed)[0]
        return self.obs

    def step(self, action: np.ndarray) -> StepResult:
        """Take an action that was chosen elsewhere."""
        result = take_step(self.env, np.array(action))  # what Ray delivers cannot be written to
        self.obs = result.observation
        return result

    def act(self, _: None) -> tuple[np.ndarray, StepResult]:
        """Choose an action, with noise, and take it."""
        newest = {key: x[None] for key, x in self.obs.items()}
        actions, self.policy_state = self.agent.policy(newest, self.policy_state, True, self.generator)
        return actions[0], self.step(actions[0])

    def state(self, _: None) -> list[torch.Tensor]:
        """Return what the next actions of the episode depend on, besides weights and environment."""
        return [self.generator.get_state(), *self.policy_state.tensors()]

    def load_state(self, state: list[torch.Tensor]) -> None:
        """Go on from a `state`."""
        self.generator.set_state(state[0].clone())
        self.policy_state = self.policy_state.with_tensors(state[1:])


class RayWorker(Worker):
    """An `Actor` on any node of the cluster, used like a process of this machine."""

    def __init__(self, actor: Any, name: str, timeout: float):
        self._actor, self._name, self._timeout = actor, name, timeout
        self.send("start", None)

    def _transmit(self, message: Any) -> None:
        self.answer = self._actor.do.remote(*message)

    def receive(self) -> Any:
        """Return the answer, waiting for it, or what went wrong as an `EnvError`."""
        ray = load_ray()
        try:
            return self.interpreted(ray.get(self.answer))
        except ray.exceptions.RayError as error:  # it was killed, or its node
            return EnvError(
                f"The actor of environment {self._name} ended in {self._doing} ({type(error).__name__})."
            )

    def kill(self) -> None:
        load_ray().kill(self._actor)

    def hang_up(self) -> None:
        """End the actor, which has nothing to save."""
        self.kill()

    def join(self) -> None:
        """Do nothing: the cluster waits for it."""


class RayActors(VectorEnv):
    """The environments of `--num-envs` actors of a cluster, where each also acts by itself.

    Raises `UserError` if there is no cluster at the address, or if an environment cannot be made.
    """

    def __init__(self, config: Config, address: str):
        self.run, self._weights = config, None
        environment = config.environment
        self._ray = join(address, environment.num_envs)
        enough = self._ray.cluster_resources().get("CPU", 0) >= environment.num_envs
        self._cores = CORE if enough else LITTLE
        super().__init__(environment, environment.num_envs, config.training.seed, workers=True)
        self._cores = LITTLE

    @property
    def nodes(self) -> int:
        """Nodes of the cluster that are alive."""
        return sum(node["Alive"] for node in self._ray.nodes())

    def act(self) -> list[tuple[np.ndarray, StepResult] | EnvError]:
        """Let every actor take one agent step."""
        return self._ask(range(self._number), "act", [None] * self._number)

    def load_weights(self, weights: dict[str, Any]) -> None:
        """Let every actor, and those that replace them, act with these weights."""
        networks = {key: x.cpu() for key, x in weights["networks"].items()}
        self._weights = self._ray.put(weights | {"networks": networks})
        self._tell(range(self._number), "load_weights", [self._weights] * self._number)

    def states(self) -> list[Any]:
        """Return the state of every actor, or None where it has died."""
        answers = self._tell(range(self._number), "state", [None] * self._number)
        return [None if isinstance(answer, EnvError) else answer for answer in answers]

    def load_states(self, states: list[Any]) -> None:
        """Go on from `states`, in episodes that have been restored."""
        known = [index for index, state in enumerate(states) if state is not None]
        self._tell(known, "load_state", [states[index] for index in known])

    def _tell(self, indices: Sequence[int], command: str, arguments: Sequence[Any]) -> list[Any]:
        """Ask without counting failures: that an actor has died is noticed, and told, at its next step or reset."""
        workers = [self._workers[index] for index in indices]
        for worker, argument in zip(workers, arguments, strict=True):
            worker.send(command, argument)
        return self._collect(workers)

    def _worker(self, index: int) -> RayWorker:
        share = (index + 1) / self._number
        own = {"num_envs": 1, "device": "cpu", "expl_noise": share * self.run.behavior.expl_noise}
        actor = self._ray.remote(num_cpus=self._cores, max_restarts=0, scheduling_strategy="SPREAD")(Actor)
        begun = actor.remote(
            with_options(self.run, own), self._seed + index, registration_of(self.config.env), Path.cwd()
        )
        return RayWorker(begun, f"{index} ({self.config.env}, on Ray)", self._timeout)

    def _make_anew(self, index: int) -> None:
        super()._make_anew(index)
        if self._weights is not None:
            self._tell([index], "load_weights", [self._weights])

    def _collect(self, workers: list[Any]) -> list[Any]:
        answers = [worker.answer for worker in workers]
        ready, _ = self._ray.wait(answers, num_returns=len(answers), timeout=self._timeout)
        ready = set(ready)
        return [x.receive() if x.answer in ready else x.hung(self._timeout) for x in workers]


class RayCollector(Collector):
    """Collects with actors that choose their actions themselves; `agent` has the weights with which they act."""

    envs: RayActors

    def load_acting_state(self, weights: dict[str, Any]) -> None:
        super().load_acting_state(weights)
        self.envs.load_weights(self.agent.acting_state())

    def _take_steps(self, random: bool) -> tuple[Any, list[StepResult | EnvError]]:
        if random:
            return super()._take_steps(random)
        answers = self.envs.act()
        taken = [(None, given) if isinstance(given, EnvError) else given for given in answers]
        return [action for action, _ in taken], [result for _, result in taken]

    def state_dict(self) -> dict[str, Any]:
        return super().state_dict() | {"actors": self.envs.states()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where `state_dict` was taken; without Ray, one goes on in the same episodes with other noise."""
        super().load_state_dict(state)
        self.envs.load_states(state.get("actors", []))
