"""The world model and its loss (paper, Section 4, Eq. 10; TF2 dreamer.py:157-177).

    loss = kl_scale * max(mean KL(posterior || prior), free_nats)
           - mean ln q(o_t | s_t) - reward_scale * mean ln q(r_t | s_t)
           [- pcont_scale * mean ln q(discount_t | s_t)]

Means are over batch and time, densities are summed over their own features. Of the other objectives (paper,
Figure 8), `contrastive` has J_S of `contrastive.py` in place of ln q(o_t | s_t), `reward-only` has nothing.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dreamer.config import BehaviorConfig, ModelConfig
from dreamer.spec import EnvSpec
from dreamer.world_model import gaussian
from dreamer.world_model.contrastive import CONTRASTS, StateModel
from dreamer.world_model.decoder import Decoder
from dreamer.world_model.dense import PCONT_LAYERS, REWARD_LAYERS, ScalarHead
from dreamer.world_model.encoder import IMAGE_SCALE, IMAGE_SHIFT, Encoder
from dreamer.world_model.rssm import MIN_STD, RSSM
from dreamer.world_model.state import State

Batch = dict[str, Tensor]
Metrics = dict[str, Tensor]
Average = Callable[[Tensor], Tensor]


def this_batch(mean: Tensor) -> Tensor:
    """Where a batch is the whole batch, its mean is the mean."""
    return mean


def squash(reward: Tensor, how: str) -> Tensor:
    """What the reward head learns: rewards as they are (`none`) or their `tanh` (TF2 dreamer.py:329-341)."""
    return {"none": lambda x: x, "tanh": torch.tanh}[how](reward)


class WorldModel(nn.Module):
    """Encoder, RSSM, decoder, reward head and, for tasks that end early, discount head."""

    def __init__(
        self,
        spec: EnvSpec,
        config: ModelConfig,
        gamma: float = BehaviorConfig.gamma,
        diagnostic_decoder: bool = True,
    ):
        super().__init__()
        self.spec, self.config, self.gamma = spec, config, gamma
        self.encoder = Encoder(spec, config.cnn_depth, config.units)
        self.rssm = RSSM(
            spec.action.size, self.encoder.size, config.stoch, config.deter, config.hidden, MIN_STD
        )
        self.feat_size = config.stoch + config.deter
        self.reconstructs = config.objective == "reconstruction"
        decoded = spec if self.reconstructs or diagnostic_decoder else EnvSpec({}, {}, spec.action)
        self.decoder = Decoder(self.feat_size, decoded, config.cnn_depth, config.units)
        self.reward = ScalarHead(self.feat_size, REWARD_LAYERS, config.units)
        self.pcont = ScalarHead(self.feat_size, PCONT_LAYERS, config.units) if config.pcont else None
        contrastive = config.objective in CONTRASTS
        self.state_model = (
            StateModel(self.encoder.size, self.feat_size, config.units) if contrastive else None
        )

    @property
    def diagnoses(self) -> bool:
        """Whether the decoder only looks on: it learns from the states, and they learn nothing from it."""
        return not self.reconstructs and self.decoder.draws

    def learners(self) -> list[nn.Parameter]:
        """The parameters that `loss` trains: all but those of a diagnostic decoder."""
        onlookers = set() if self.reconstructs else set(self.decoder.parameters())
        return [parameter for parameter in self.parameters() if parameter not in onlookers]

    def loss(
        self, batch: Batch, noise: Tensor, average: Average = this_batch
    ) -> tuple[Tensor, Metrics, State]:
        """The loss of a batch `(B, T, ...)` under filter noise `(B, T, S)`.

        If it is a share of a larger one, `average` gives the mean over all shares, cut from the graph.
        Returns the scalar loss, the metrics and the posterior states `(B, T, .)`, where imagination starts.
        """
        embed = self.encoder(batch)
        posterior, prior = self.rssm.observe(embed, batch["action"], noise, is_first=batch.get("is_first"))
        log_probs = self.log_probs(posterior.feat, batch)
        if self.state_model is not None:
            contrast = CONTRASTS[self.config.objective]
            log_probs["contrast"] = contrast(posterior.feat, *self.state_model(embed))
        kl, kl_loss = self._kl_loss(posterior, prior, average)
        loss = self.config.kl_scale * kl_loss
        scales = {"reward": self.config.reward_scale, "pcont": self.config.pcont_scale}
        for key, log_prob in log_probs.items():
            loss = loss - log_prob.mean() * scales.get(key, 1.0)
        metrics = {f"model/{key}_loss": -value.mean().detach() for key, value in log_probs.items()}
        metrics["model/kl"] = kl.mean()
        metrics["model/prior_entropy"] = gaussian.mean_entropy(prior.std)
        metrics["model/posterior_entropy"] = gaussian.mean_entropy(posterior.std)
        metrics["model/loss"] = loss.detach()
        return loss, metrics, posterior

    def _kl_loss(self, posterior: State, prior: State, average: Average) -> tuple[Tensor, Tensor]:
        """KL(posterior || prior) of every step `(B, T)`, and its mean above the free nats.

        With `rep_scale` the gradient that reaches the posterior is scaled (DreamerV3's `rep`, with `dyn` 1).
        """
        scale = self.config.rep_scale
        mean, std = scale_gradient(posterior.mean, scale), scale_gradient(posterior.std, scale)
        kl = gaussian.kl_divergence(mean, std, prior.mean, prior.std)
        return kl.detach(), self._above_free_nats(kl, average)

    def _above_free_nats(self, kl: Tensor, average: Average = this_batch) -> Tensor:
        """The mean of the KL `(B, T)`, cut off below.

        The mean of the whole batch decides, for every share of it alike: then the mean of the shares'
        gradients is the gradient of the whole.
        """
        # TF2: the mean is taken before the free nats, so that steps may share them (paper: per step).
        if self.config.free_avg:
            mean = kl.mean()
            return torch.where(average(mean.detach()) < self.config.free_nats, self.config.free_nats, mean)
        return kl.clamp(min=self.config.free_nats).mean()

    def diagnostic_loss(self, posterior: State, batch: Batch) -> tuple[Tensor, Metrics]:
        """The loss of the diagnostic decoder alone, at posterior states `(B, T, .)`."""
        log_probs = self._observation_log_probs(posterior.feat.detach(), batch)
        losses = {f"model/{key}_loss": -log_prob.mean() for key, log_prob in log_probs.items()}
        return torch.stack(list(losses.values())).sum(), {key: loss.detach() for key, loss in losses.items()}

    def log_probs(self, feat: Tensor, batch: Batch) -> dict[str, Tensor]:
        """ln q of observations (if reconstructed), reward and discount at `(B, T, F)`: each `(B, T)`."""
        result = self._observation_log_probs(feat, batch) if self.reconstructs else {}
        target = squash(batch["reward"], self.config.clip_rewards)
        result["reward"] = gaussian.unit_log_prob(self.reward(feat), target)
        if self.pcont is not None:
            label = self.gamma * batch["discount"]  # soft labels, 0 and gamma (paper, Section 3)
            result["pcont"] = -F.binary_cross_entropy_with_logits(self.pcont(feat), label, reduction="none")
        return result

    def _observation_log_probs(self, feat: Tensor, batch: Batch) -> dict[str, Tensor]:
        result = {}
        for key, mean in self.decoder(feat).items():
            scaling = (IMAGE_SCALE, IMAGE_SHIFT) if key in self.spec.images else (1.0, 0.0)
            result[key] = gaussian.unit_log_prob_sum(mean, batch[key], *scaling)
        return result

    def discount(self, feat: Tensor) -> Tensor:
        """The discount of each state `(..., F)` -> `(...)`: predicted if there is a head, else gamma."""
        if self.pcont is None:
            return torch.full(feat.shape[:-1], self.gamma, device=feat.device)
        return torch.sigmoid(self.pcont(feat))

    @torch.no_grad()
    def open_loop(self, batch: Batch, context: int, noise: Tensor) -> dict[str, Tensor]:
        """See the first `context` steps of `(B, T, ...)`, then dream the rest from the true actions alone.

        `noise` is `(B, T, S)`. Returns the decoded observations `(B, T, ...)`, images in [0, 1] (Figure 5).
        """
        embed = self.encoder({key: batch[key][:, :context] for key in self.encoder.parts})
        seen, _ = self.rssm.observe(embed, batch["action"][:, :context], noise[:, :context])
        last = seen.map(lambda x: x[:, -1])
        dreamt = self.rssm.imagine(last, batch["action"][:, context:], noise[:, context:])
        means = self.decoder(torch.cat([seen.feat, dreamt.feat], 1))
        return {
            key: (x.float() + 0.5).clamp(0, 1) if key in self.spec.images else x for key, x in means.items()
        }


def scale_gradient(x: Tensor, scale: float) -> Tensor:
    """`x` itself, whose gradient is multiplied by `scale` on its way back."""
    return x.detach() + scale * (x - x.detach())
