"""The outer loop (paper, Algorithm 1): seed episodes, then rounds of updates and interaction.

What is due follows from the counters alone, so a run that stops between any two steps goes on exactly there.
"""

import contextlib
import logging
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dreamer.agents.agent import Agent, Learning
from dreamer.agents.captured import make_update
from dreamer.agents.make import make_agent
from dreamer.agents.ranks import Ranks
from dreamer.config import Config, evaluated
from dreamer.envs.vector import VectorEnv
from dreamer.errors import UserError, writing
from dreamer.replay.make import make_feed
from dreamer.replay.store import EpisodeStore
from dreamer.storage.machine import record_machine
from dreamer.training import checkpoint
from dreamer.training.async_collect import make_collector
from dreamer.training.counters import Counters
from dreamer.training.distributed import lead
from dreamer.training.dream import dream, obstacle
from dreamer.training.evaluate import StoppedError, evaluate
from dreamer.training.host_memory import keep_freed_memory
from dreamer.training.interrupt import Interrupt
from dreamer.training.metrics import Mean
from dreamer.training.recorder import Recorder
from dreamer.training.run_directory import RunDirectory

MAX_SKIPPED = 10
"""Updates in a row with non-finite gradients after which a run stops. They are looked at every so many
updates, so there may be almost twice as many."""

_logger = logging.getLogger(__name__)


class Trainer:
    """One run: builds its parts, resumes if the directory holds a checkpoint, and trains.

    Of several processes (`ranks`) it is for the leader; the others `follow` (`distributed`).
    """

    def __init__(self, config: Config, logdir: Path, ranks: Ranks | None = None):
        self.config, self.schedule = config, config.training
        self.run_directory = RunDirectory(logdir)
        self.run_directory.check(config)
        self.interrupt = Interrupt()
        if self.schedule.threads:
            torch.set_num_threads(self.schedule.threads)
        keep_freed_memory()
        # Whatever can be wrong with the environment or the networks shows before anything is written.
        num_envs, seed = config.environment.num_envs, self.schedule.seed
        # With `async_collect` a simulator here would take turns with the learner. And where those that
        # collect are watched by a timeout, so is the one that evaluates.
        workers = self.schedule.async_collect or num_envs > 1
        with contextlib.ExitStack() as undo:  # what was begun ends if anything after it is refused
            self.envs = undo.enter_context(
                contextlib.closing(VectorEnv(config.environment, num_envs, seed, workers))
            )
            self.eval_envs = undo.enter_context(
                contextlib.closing(VectorEnv(evaluated(config.environment), 1, seed, workers))
            )
            self.agent: Agent = lead(make_agent(self.envs.spec, config), config, ranks or Ranks())
            self.update = make_update(self.agent, self.schedule.fast)
            self.collector = undo.enter_context(
                contextlib.closing(make_collector(self.envs, self.agent, config))
            )
            self._count_from_nothing()
            undo.callback(self.run_directory.unlock)
            self._open()
            undo.pop_all()

    def _count_from_nothing(self) -> None:
        """Where a run stands before its first frame."""
        self.counters = Counters()
        self.learning_start: int | None = None  # env_step at which the random episodes were over
        self.episodes = 0
        self.replay_rng = np.random.default_rng([self.schedule.seed, 2])
        self.next_eval, self.next_save = self.schedule.eval_every, self.schedule.checkpoint_every
        self.next_video = self.schedule.video_every
        self.means = Mean()
        self.skipped: torch.Tensor | int = 0  # updates in a row left out because a gradient was not finite
        self.finished_at: int | None = None  # env_step of the final evaluation

    def _open(self) -> None:
        """Take the directory, and go on from its checkpoint if it has one."""
        self.run_directory.lock()
        saved = checkpoint.load(self.run_directory.checkpoints)
        self.run_directory.write_config(self.config)
        record_machine(self.run_directory.path, self.agent.device)
        self.run_directory.note_checkpoint(saved=saved is not None)
        self.store = EpisodeStore(self.run_directory.replay, self.config.replay.replay_size)
        self.recorder = Recorder(self.run_directory, self.counters, self.schedule.steps)
        self.resumed = saved is not None
        if saved is None:
            self._start_anew()
        else:
            self.load_state_dict(saved)
        self.feed = make_feed(self.config, self.envs.spec, self.store, self.agent.device)

    # -- the loop ----------------------------------------------------------------------------------------

    def run(self, final_evaluation: bool = True) -> bool:
        """Train to the end. Returns False if it was asked to stop before; then a checkpoint was saved."""
        self.recorder.start(self.counters)
        with self.interrupt, self.recorder.progress:
            try:
                self._loop()
                if final_evaluation and not self._stop:
                    self._finish()
                self._save()
            finally:
                self.recorder.writer.close()
        return self.finished_at == self.counters.env_step

    def _loop(self) -> None:
        """Updates, evaluation, checkpoint, one decision; and again, until asked to stop between any two."""
        while not self._stop:
            self._learn()
            self._evaluate_if_due()
            self._save_if_due()
            if self.counters.env_step >= self.schedule.steps:
                return
            if not self._stop:
                self._interact()

    @property
    def _stop(self) -> bool:
        return self.interrupt.requested or self.recorder.progress.lost

    def close(self) -> None:
        """Stop the environments, and let others train here."""
        self.run_directory.unlock()
        self.collector.close()
        self.envs.close()
        self.eval_envs.close()

    def _learn(self) -> None:
        """Take all updates that are due (Algorithm 1, lines 3-10)."""
        due = self._updates_due() - self.counters.grad_step
        if due <= 0:
            return
        if self._rounds > 1:  # What has learned nothing does not act.
            self.collector.begin_round(self._round_end)
        for batch in self.feed.iterate(self.replay_rng, due):
            self._update(batch)
            self.recorder.show()
            self.collector.check()
            if self._stop:
                break
        if self.counters.grad_step == self._updates_due():
            self.recorder.scalars(self.means.pop())

    def _updates_due(self) -> int:
        """How many updates should have been taken by now: C at the start, and C more every 1000 frames."""
        if not self._rounds or not self.agent.learns:
            return 0
        first = self.schedule.pretrain_model + self.schedule.pretrain_value
        return first + self._rounds * self.schedule.train_steps

    @property
    def _rounds(self) -> int:
        """How many rounds of updates should have begun by now."""
        if self.learning_start is None:
            return 0
        return 1 + (self.counters.env_step - self.learning_start) // self.schedule.train_every

    @property
    def _round_end(self) -> int:
        """The `env_step` at which the next round of updates is due, once the random episodes are over."""
        return (self.learning_start or 0) + self._rounds * self.schedule.train_every

    def _update(self, batch: dict[str, torch.Tensor]) -> None:
        metrics = self.update(batch, self._learning())
        self.counters.grad_step += 1
        left_out = metrics.pop("skipped")
        self.skipped = (self.skipped + 1) * left_out
        self.means.add({"model/skipped_updates": left_out})
        self.means.add(metrics, left_out)
        if self.counters.grad_step % MAX_SKIPPED == 0:
            self._give_up_after_several(metrics)

    def _learning(self) -> Learning:
        """Which networks the next update trains."""
        if self.counters.grad_step < self.schedule.pretrain_model:
            return "model"
        warm = self.counters.grad_step >= self.schedule.pretrain_model + self.schedule.pretrain_value
        return "all" if warm else "model and value"

    def _give_up_after_several(self, metrics: dict[str, torch.Tensor]) -> None:
        """Raise `UserError` if update after update was left out, up to this one with its `metrics`.

        Looked at now and then, since it waits for the device.
        """
        if (skipped := int(self.skipped)) >= MAX_SKIPPED:
            raise UserError(
                f"{skipped} updates in a row were not finite, first in {_not_finite(metrics)[0]}: try"
                " --precision float32 or a smaller learning rate; the last checkpoint is good, the same"
                " command goes on from it."
            )

    def _interact(self) -> None:
        """One decision in every environment (Algorithm 1, lines 11-16)."""
        random = self.learning_start is None
        if not random:
            self.collector.begin_round(self._round_end)
        frames, finished = self.collector.step(random)
        self.counters.env_step += frames
        self.counters.agent_step += self.config.environment.num_envs
        for builder in finished:
            self.store.append(builder.episode())
            self.episodes += 1
            self.recorder.episode(builder.total_return, len(builder))
        if random and self.episodes and self.counters.env_step >= self.schedule.prefill:
            self.learning_start = self.counters.env_step
        self.recorder.show()

    def _evaluate_if_due(self) -> None:
        due = self.schedule.eval_every and self.counters.env_step >= self.next_eval
        if due and self.counters.env_step < self.schedule.steps and not self._stop:
            self._evaluate(self.schedule.eval_episodes)

    def _evaluate(self, episodes: int) -> bool:
        """Evaluate, and film it now and then; nothing here changes what training does next.

        Returns False if it was asked to stop on the way: nothing is recorded then, and it stays due.
        """
        seed = self.schedule.seed + 1_000_003 * (1 + self.counters.env_step)
        film = bool(self.schedule.video_every) and self.counters.env_step >= self.next_video
        try:
            result = evaluate(self.agent, self.eval_envs, episodes, seed, film, stop=lambda: self._stop)
        except StoppedError:
            return False
        self.recorder.evaluation(result)
        if film:
            self._film(seed)
        self.next_eval = _next_multiple(self.counters.env_step, self.schedule.eval_every)
        return True

    def _film(self, seed: int) -> None:
        """Film a dream, if this agent and its episodes allow; the next film is due as if they did."""
        if obstacle(self.agent, self.store) is None:
            self.recorder.dream(dream(self.agent, self.store, seed))
        self.next_video = _next_multiple(self.counters.env_step, self.schedule.video_every)

    def _finish(self) -> None:
        """The final evaluation, once: a complete run that is started again has nothing left to do."""
        if self.finished_at != self.counters.env_step and self._evaluate(self.schedule.final_episodes):
            self.finished_at = self.counters.env_step

    # -- keeping -----------------------------------------------------------------------------------------

    def _save_if_due(self) -> None:
        if self.counters.env_step >= self.next_save and not self._stop:
            self._save()

    def _save(self) -> None:
        self.next_save = _next_multiple(self.counters.env_step, self.schedule.checkpoint_every)
        self.recorder.tick()
        state = self.state_dict()
        with writing(self.run_directory.path):
            checkpoint.save(self.run_directory.checkpoints, state)
            self.run_directory.note_checkpoint(saved=True)
            self.store.commit()

    def state_dict(self) -> dict[str, Any]:
        """Everything needed to go on exactly; see `checkpoint`."""
        return {
            "env_step": self.counters.env_step,
            "counters": self.counters.state_dict(),
            "learning_start": self.learning_start,
            "episodes": self.episodes,
            "skipped": int(self.skipped),
            "finished_at": self.finished_at,
            "next_eval": self.next_eval,
            "next_save": self.next_save,
            "next_video": self.next_video,
            "agent": self.agent.state_dict(),
            "collector": self.collector.state_dict(),
            "replay_rng": checkpoint.pack_rng(self.replay_rng),
            "replay": self.store.extent(),
            "means": self.means.state_dict(),
            "metrics_offset": self.recorder.writer.offset(),
        }

    def _start_anew(self) -> None:
        """Begin with nothing: without a checkpoint a run that was killed cannot be gone on with."""
        if len(self.store):
            _logger.warning(
                "The run in %s was stopped before its first checkpoint: starting anew, without its episodes.",
                self.run_directory.path,
            )
        self._rewind({"episodes": [], "next_id": 0}, 0)

    def _rewind(self, replay: dict[str, Any], metrics_offset: int) -> None:
        """Drop the episodes and the lines of the record that came after these."""
        with writing(self.store.directory):
            self.store.rewind(replay)
        self.recorder.writer.rewind(metrics_offset)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on exactly where `state_dict` was taken; episodes and metrics of later are dropped."""
        self.counters = Counters(**state["counters"])
        self.learning_start, self.episodes = state["learning_start"], state["episodes"]
        self.skipped, self.finished_at = state["skipped"], state.get("finished_at")
        self.next_eval, self.next_save = state["next_eval"], state["next_save"]
        self.next_video = state["next_video"]
        self._rewind(state["replay"], state["metrics_offset"])
        self.means.load_state_dict(state["means"])
        self.replay_rng = checkpoint.unpack_rng(state["replay_rng"])
        self.agent.load_state_dict(state["agent"])
        self.collector.load_state_dict(state["collector"])


def _not_finite(metrics: dict[str, torch.Tensor]) -> list[str]:
    """Names of the metrics that are NaN or infinite."""
    finite = torch.stack(list(metrics.values())).isfinite().tolist()
    return [name for name, good in zip(metrics, finite, strict=True) if not good]


def _next_multiple(env_step: int, period: int) -> int:
    """The first multiple of `period` after `env_step`."""
    return env_step if not period else (env_step // period + 1) * period
