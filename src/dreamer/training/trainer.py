"""The training loop (paper, Algorithm 1, with its letters).

     1  initialize the dataset with S random seed episodes
     2  initialize the parameters of all networks
     3  while not converged
     4      for update step c = 1..C                      a round of updates, every --train-every frames
     5          draw B data sequences                     dynamics learning
     6          compute the model states
     7          update the world model
     8          imagine trajectories from every state     behavior learning
     9          predict rewards and values
    10          compute value estimates
    11          update the actor
    12          update the value model
    13      reset the environment                         environment interaction
    14      for time step t = 1..T
    15          compute the model state
    16          choose an action
    17          add exploration noise
    18          step the environment
    19      add the experience to the dataset

The paper takes one round of updates after each episode. Here, as in the official code, rounds follow the
frames, and an episode may go on over several of them.

A run can stop between any two updates or agent steps, and goes on exactly there.
"""

import contextlib
import dataclasses
import functools
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from dreamer.agents.agent import Agent
from dreamer.agents.make import make_agent
from dreamer.config import Config, EnvConfig, evaluated
from dreamer.envs.failures import EnvError
from dreamer.envs.vector import VectorEnv
from dreamer.errors import UserError, writing
from dreamer.logs import open_loop
from dreamer.logs.logger import Logger
from dreamer.logs.video import comparison
from dreamer.logs.wandb_board import check_installed
from dreamer.replay.episode_file import signature_of_spec
from dreamer.replay.make import make_feed
from dreamer.replay.store import EpisodeStore
from dreamer.storage import checkpoint
from dreamer.storage.run_directory import RunDirectory
from dreamer.training.async_collect import make_collector
from dreamer.training.clock import Counters, Every, Rounds
from dreamer.training.collect import Step
from dreamer.training.evaluate import StoppedError, evaluate
from dreamer.training.ray_actors import RayActors
from dreamer.training.signals import Interrupt
from dreamer.training.skipped import SkippedUpdates
from dreamer.training.threads import set_threads
from dreamer.types import Batch, EnvSpec

_logger = logging.getLogger(__name__)


class NothingLearnedError(UserError):
    """The run is over, and there was no update."""


class Trainer:
    """Make the parts of a run, go on from the checkpoint if the directory has one, and train.

    Nothing is written before environments and networks are made, so that a run that is refused leaves nothing. `ray` is
    the address of a cluster for the actors of a run that collects asynchronously.
    """

    def __init__(
        self,
        config: Config,
        logdir: Path,
        make_agent: Callable[[EnvSpec, Config], Agent] = make_agent,
        ray: str | None = None,
    ):
        self.config, self.schedule = config, config.training
        self.run_directory = RunDirectory(logdir.absolute())  # an environment may leave the current folder
        self.run_directory.check(config)
        check_installed(self.schedule.logger)
        set_threads(self.schedule.threads, logdir)
        self._all_envs: list[VectorEnv] = []
        self.interrupt = Interrupt()
        self.counters = Counters()
        self.rounds = Rounds(self.schedule)
        self.evaluation_clock = Every(self.schedule.eval_every)
        self.checkpoint_clock = Every(self.schedule.checkpoint_every)
        self.video_clock = Every(self.schedule.video_every)
        self.skipped = SkippedUpdates()
        self.replay_rng = np.random.default_rng([self.schedule.seed, 2])
        self._take_turns = False  # whether the simulator lets only one environment be open at a time
        with contextlib.ExitStack() as opened:  # closes what is open if a later part is refused
            self.envs = self._make_training_envs(ray)
            opened.callback(self.envs.close)
            self.agent = make_agent(self.envs.spec, config)
            if self.agent.trainable:
                self._check_schedule()
            self.collector = make_collector(self.envs, self.agent, config)
            opened.callback(self.collector.close)
            opened.callback(self.run_directory.unlock)
            self._open_directory()
            self._opened = opened.pop_all()

    def _make_training_envs(self, ray: str | None) -> VectorEnv:
        """Make the environments of the training: here, or on the Ray cluster at an address."""
        if ray is None:
            return self._make_envs(self.config.environment, self.config.environment.num_envs)
        actors = RayActors(self.config, ray)
        self._all_envs.append(actors)
        return actors

    def _make_envs(self, settings: EnvConfig, number: int) -> VectorEnv:
        """Make environments: in worker processes if there are several, or if they must not wait for the learner."""
        workers = self.schedule.async_collect or self.config.environment.num_envs > 1
        envs = VectorEnv(settings, number, self.schedule.seed, workers)
        self._all_envs.append(envs)
        envs.require_same(self._all_envs[0].spec)
        return envs

    def _check_schedule(self) -> None:
        """Raise `UserError` if the run would end before its first update, and warn if it may."""
        steps, prefill = self.schedule.steps, self.schedule.prefill
        if steps < prefill:
            raise UserError(
                f"--steps {steps} end before learning begins, after --prefill {prefill}: give more --steps, or less "
                "--prefill."
            )
        environment = self.config.environment
        if steps < environment.num_envs * environment.time_limit:
            _logger.warning(
                "Learning begins after a whole episode; with --time-limit %d and --num-envs %d, --steps %d may end "
                "before that.",
                *(environment.time_limit, environment.num_envs, steps),
            )

    def _open_directory(self) -> None:
        """Lock the run directory, and go on from its checkpoint if it has one."""
        saved = self.run_directory.open(self.config, self.agent.device)
        self.store = EpisodeStore(
            self.run_directory.replay,
            self.config.replay.replay_size,
            signature=signature_of_spec(self.envs.spec),
        )
        device, transitions = self.agent.device, self.agent.transitions
        self.feed = make_feed(self.config, self.envs.spec, self.store, device, transitions)
        path, steps = self.run_directory.path, self.schedule.steps
        self.logger = Logger(path, self.counters, steps, self._doing, self.config)
        self.resumed = saved is not None
        if saved is None:
            self._start_anew()
        else:
            with checkpoint.restoring(self.run_directory.checkpoints, saved, self.config):
                checkpoint.check_agent(saved, self.agent)
                self.load_state_dict(saved)

    def _doing(self) -> str:
        return self.rounds.doing(self.counters.grad_step) if self.agent.trainable else "acting"

    def close(self) -> None:
        """Unlock the run directory, and stop collector and environments."""
        if self.interrupt.at_once:
            for envs in self._all_envs:
                envs.kill()
        self._opened.close()

    # -- Algorithm 1 -------------------------------------------------------------------------------------

    def run(self, final_evaluation: bool = True) -> bool:
        """Train to the end, and save. Return whether the run is complete, its final evaluation included.

        Raises `UserError`, when all is saved, if an environment failed too often in a row, or nothing was learned.
        """
        self.counters.start()
        with self.interrupt, self.logger:
            try:
                self._train()
                if not self._stop:
                    self._check_learned()
                    if final_evaluation:
                        self._evaluate_finally()
            except (EnvError, NothingLearnedError):  # raised between two steps, when the state is consistent
                self._save()
                raise
            self._save()
        return self.counters.finished_at == self.counters.env_step

    def _train(self) -> None:
        """Algorithm 1: in each pass the updates that are due, usually none, and then one agent step."""
        while not self._stop:  # line 3
            self._learn()  # lines 4 to 12
            self._evaluate_if_due()
            self._save_if_due()
            if self._stop or self.counters.env_step >= self.schedule.steps:
                return
            self._interact()  # lines 13 to 19, and line 1

    @property
    def _stop(self) -> bool:
        return self.interrupt.requested

    def _learn(self) -> None:
        """Take the updates that are due: C = `--train-steps` of them every `--train-every` frames."""
        env_step = self.counters.env_step
        due = self.rounds.updates_due(env_step) if self.agent.trainable else 0
        if self.counters.grad_step >= due:
            return
        # With --async-collect, frames of the next round are collected during these updates, unless they are the first.
        if self.rounds.begun(env_step) > 1:
            self.collector.begin_round(self.rounds.end(env_step))
        for batch in self.feed.iterate(self.replay_rng, due - self.counters.grad_step):  # lines 4 and 5
            self._update(batch)  # lines 6 to 12
            self.collector.check()
            # Log after every C updates, so also within a long pretraining.
            if (due - self.counters.grad_step) % self.schedule.train_steps == 0:
                self.logger.round()
            if self._stop:
                break

    def _update(self, batch: Batch) -> None:
        """Take one update, count it, and log its metrics."""
        metrics = self.agent.update(batch, self.rounds.phase(self.counters.grad_step))  # lines 6 to 12
        self.counters.grad_step += 1
        skipped = metrics.pop("skipped")
        if (priority := metrics.pop("priority", None)) is not None:
            self.feed.sampler.set_priorities(priority.cpu().numpy())
        self.logger.update(metrics, skipped)
        self.skipped.add(skipped, metrics, self.counters.grad_step)

    def _interact(self) -> None:
        """Take one agent step in every environment; its actions are random until the prefill is over (line 1)."""
        random = self.rounds.start is None
        if not random:
            self.collector.begin_round(self.rounds.end(self.counters.env_step))
        step = self.collector.step(random)  # lines 13 to 18
        self._count(step)
        if step.fatal is not None:
            raise step.fatal
        if random and self.counters.episodes and self.counters.env_step >= self.schedule.prefill:
            self.rounds.start = self.counters.env_step
        self.logger.show()

    def _count(self, step: Step) -> None:
        """Add an agent step to the counters, and episodes that ended with it to the dataset and the log."""
        self.counters.env_step += step.frames
        self.counters.agent_step += self.config.environment.num_envs if step.frames else 0
        for builder in step.finished:
            self.store.append(builder.episode())  # line 19
            self.counters.episodes += 1
            self.logger.episode(builder.total_return, len(builder))
        for builder in step.broken:
            if (episode := builder.episode())["reward"].size >= self.feed.sampler.batch_length:
                self.store.append(episode)
        for _ in range(step.failures):
            self._count_env_failure()

    def _count_env_failure(self) -> None:
        self.counters.env_failures += 1
        self.logger.env_failure(self.counters.env_failures)

    def _check_learned(self) -> None:
        """Raise `NothingLearnedError` if the run is over before its first update, and was to learn."""
        if self.agent.trainable and not self.counters.grad_step:
            raise NothingLearnedError(
                f"Nothing was learned in {self.counters.env_step:,} frames: learning begins after --prefill "
                f"{self.schedule.prefill} frames and a whole episode, of up to --time-limit "
                f"{self.config.environment.time_limit}. The same command with more --steps goes on from here."
            )

    # -- evaluation --------------------------------------------------------------------------------------

    def _evaluate_if_due(self) -> None:
        at_end = self.counters.env_step >= self.schedule.steps  # where the final evaluation follows
        if self.evaluation_clock.due(self.counters.env_step) and not at_end and not self._stop:
            self._evaluate(self.schedule.eval_episodes)

    def _evaluate_finally(self) -> None:
        """Evaluate at the end, once: a complete run that is started again has nothing left to do."""
        env_step = self.counters.env_step
        if self.counters.finished_at != env_step and self._evaluate(self.schedule.final_episodes):
            self.counters.finished_at = env_step

    def _evaluate(self, episodes: int) -> bool:
        """Evaluate, and log videos if they are due; nothing here changes what training does next.

        Return False if it was asked to stop: then nothing is logged, and the evaluation stays due.
        """
        env_step = self.counters.env_step
        # A failure changes the seed: a run that ended by it and goes on does not meet the same episode.
        seed = self.schedule.seed + 1_000_003 * (1 + env_step) + self.counters.env_failures
        video = self.video_clock.due(env_step)
        self.logger.show(doing="evaluating")
        try:
            stop, failed = lambda: self._stop, self._count_env_failure
            with self._evaluation_envs() as envs:
                result = evaluate(self.agent, envs, episodes, seed, video, stop, failed)
        except StoppedError:
            return False
        self.logger.evaluation(result.returns, result.lengths)
        self.evaluation_clock.done(env_step)
        if video:
            self._log_videos(result.images, seed)
            self.video_clock.done(env_step)
        return True

    @functools.cached_property
    def eval_envs(self) -> VectorEnv:
        """The environment of the evaluation, made when it is first needed."""
        envs = self._make_envs(evaluated(self.config.environment), 1)
        return self._opened.enter_context(contextlib.closing(envs))

    @contextlib.contextmanager
    def _evaluation_envs(self) -> Iterator[VectorEnv]:
        """Yield the environment for evaluation.

        A simulator may let only one be open at a time, because it binds a port. Then the training environments are
        closed meanwhile, and their episodes in progress are restored by repeating their actions.
        """
        if not self._take_turns:
            try:
                self.eval_envs  # noqa: B018 (makes it)
            except EnvError as failure:
                if not failure.passing:
                    raise
                self._take_turns = True
                _logger.warning("%s From here on training and evaluation take turns.", failure)
        if not self._take_turns:
            yield self.eval_envs
            return
        state = self.collector.state_dict()
        self.envs.close()
        with contextlib.closing(self._make_envs(evaluated(self.config.environment), 1)) as envs:
            yield envs
        self.collector.load_state_dict(state)

    def _log_videos(self, images: np.ndarray | None, seed: int) -> None:
        """Log the images of an evaluation, and an open-loop prediction if agent and episodes allow one."""
        if images is not None:
            self.logger.video("evaluation", images)
        with contextlib.suppress(open_loop.CannotPredictError):
            prediction = open_loop.predict(self.agent, self.store, seed)
            self.logger.video("open_loop", comparison(prediction.truth, prediction.model))

    # -- saving ------------------------------------------------------------------------------------------

    def _save_if_due(self) -> None:
        if self.checkpoint_clock.due(self.counters.env_step) and not self._stop:
            self._save()

    def _save(self) -> None:
        self.checkpoint_clock.done(self.counters.env_step)
        self.run_directory.save(self.state_dict())
        with writing(self.run_directory.path):
            self.store.commit()

    def _parts(self) -> dict[str, Any]:
        """Return everything that has a `state_dict`, by its name in a checkpoint."""
        clocks = ("counters", "rounds", "evaluation_clock", "checkpoint_clock", "video_clock")
        names = (*clocks, "skipped", "logger", "agent", "collector")
        return {name: getattr(self, name) for name in names} | {"sampler": self.feed.sampler}

    def state_dict(self) -> dict[str, Any]:
        """Return everything that is needed to go on exactly; `checkpoint` writes it."""
        return {
            "env_step": self.counters.env_step,
            "options": checkpoint.kept_options(self.config),
            "spec": dataclasses.asdict(self.envs.spec),
            "replay": self.store.extent(),
            "replay_rng": checkpoint.pack_rng(self.replay_rng),
            **{name: part.state_dict() for name, part in self._parts().items()},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on exactly where `state_dict` was taken; later episodes and metrics are dropped."""
        with writing(self.store.directory):
            self.store.rewind(state["replay"])
        self.replay_rng = checkpoint.unpack_rng(state["replay_rng"])
        for name, part in self._parts().items():
            part.load_state_dict(state[name])

    def _start_anew(self) -> None:
        """Drop the episodes and metrics of a run that was killed before its first checkpoint."""
        if len(self.store):
            message = "The run in %s was stopped before its first checkpoint: starting anew without episodes."
            _logger.warning(message, self.run_directory.path)
        with writing(self.store.directory):
            self.store.rewind({"episodes": [], "next_id": 0})
        self.logger.start_anew()
