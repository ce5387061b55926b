"""The world model and its loss (paper, Section 4, Eq. 10; TF2 dreamer.py:157-177).

    loss = kl_scale * max(mean KL(posterior || prior), free_nats)
           - mean ln q(o_t | s_t) - reward_scale * mean ln q(r_t | s_t)
           [- pcont_scale * mean ln q(discount_t | s_t)]

This is the loss without the options `--rep-scale` and `--no-free-avg`, which change the first term (`WorldModel.kl`).
Means are over batch and time, densities are summed over their own elements. In the preset `paper` the scales are 1 (10
for the discount), and there are 3 free nats. Objective `contrastive` (Figure 8) replaces ln q(o_t | s_t) by J_S of
`contrastive.py`; `reward-only` drops it.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from dreamer.config import Config
from dreamer.types import Batch, EnvSpec, Metrics
from dreamer.world_model import gaussian
from dreamer.world_model.contrastive import CONTRASTS, StateModel
from dreamer.world_model.decoder import Decoder
from dreamer.world_model.encoder import Encoder
from dreamer.world_model.gaussian import HALF_LOG_TWO_PI, unit_log_prob
from dreamer.world_model.mlp import ScalarMLP
from dreamer.world_model.rssm import RSSM, State, given

REWARD_LAYERS, PCONT_LAYERS = 2, 3


def scale_gradient(x: Tensor, scale: float) -> Tensor:
    """Return `x`, with its gradient multiplied by `scale` on the way back."""
    return x.detach() + scale * (x - x.detach())


class WorldModel(nn.Module):
    """Encoder, RSSM, decoder, reward head and, with `--pcont`, a discount head."""

    def __init__(self, spec: EnvSpec, config: Config):
        super().__init__()
        self.spec, self.options, self.gamma = spec, config.model, config.behavior.gamma
        m = config.model
        self.encoder = Encoder(spec, m.cnn_depth, m.units)
        self.rssm = RSSM(spec.action.size, self.encoder.size, m.stoch, m.deter, m.hidden)
        self.feat_size = m.stoch + m.deter
        self.reconstructs = m.objective == "reconstruction"
        # The other objectives train a decoder for videos only, and none if no videos are wanted.
        decoded = spec if self.reconstructs or config.training.video_every else EnvSpec({}, {}, spec.action)
        self.decoder = Decoder(self.feat_size, decoded, m.cnn_depth, m.units)
        self.reward = ScalarMLP(self.feat_size, REWARD_LAYERS, m.units)
        self.pcont = ScalarMLP(self.feat_size, PCONT_LAYERS, m.units) if m.pcont else None
        self.contrast = CONTRASTS.get(m.objective)
        self.state_model = StateModel(self.encoder.size, self.feat_size, m.units) if self.contrast else None
        self.batch_mean: Callable[[Tensor], Tensor] | None = None
        """In a data-parallel run: the mean over the batches of all processes."""

    def trained_by(self) -> dict[str, list[nn.Parameter]]:
        """Return parameters by the loss that trains them: `model`, and `decoder` if it is trained for videos only."""
        videos = [] if self.reconstructs else list(self.decoder.parameters())
        model = [parameter for parameter in self.parameters() if all(parameter is not x for x in videos)]
        return {"model": model, "decoder": videos} if videos else {"model": model}

    def losses(self, batch: Batch, noise: Float[Tensor, "B T S"]) -> tuple[dict[str, Tensor], State, Metrics]:
        """Return losses on a batch `(B, T, ...)` under filter noise `(B, T, S)`, posterior states, and metrics.

        The losses are named by their optimizers: `model` (Eq. 10), and `decoder` if it is trained for videos only.
        Imagination starts from the posterior states `(B, T, .)`.
        """
        # Model states (line 6 of Algorithm 1)
        embed = self.encoder(batch)  # (B, T, E)
        posterior, prior = self.rssm.observe(embed, batch["action"], batch["is_first"], noise)  # (B, T, .)

        # The loss (Eq. 10)
        log_probs = self.log_probs(posterior.feat, embed, batch)  # each (B, T)
        kl, kl_loss = self.kl(posterior, prior)  # (B, T), scalar
        scales = {"reward": self.options.reward_scale, "pcont": self.options.pcont_scale}
        loss = self.options.kl_scale * kl_loss
        for key, log_prob in log_probs.items():
            loss = loss - scales.get(key, 1.0) * log_prob.mean()
        losses = {"model": loss}

        # A decoder for videos only, whose loss changes no other network
        if not self.reconstructs and self.decoder.keys:
            videos = self.decoder.log_probs(posterior.feat.detach(), batch)
            losses["decoder"] = -torch.stack([log_prob.mean() for log_prob in videos.values()]).sum()
            log_probs |= videos

        # Metrics
        reward = self.reward_target(batch["reward"])
        metrics = {f"model/{key}_loss": -log_prob.mean().detach() for key, log_prob in log_probs.items()} | {
            "model/kl": kl.mean().detach(),
            "model/prior_entropy": gaussian.mean_entropy(prior.std),
            "model/posterior_entropy": gaussian.mean_entropy(posterior.std),
            "model/loss": loss.detach(),
            "model/reward_mean": reward.mean(),
            "model/reward_square": reward.square().mean(),
        }
        for key in (key for key in self.decoder.keys if key in log_probs):
            constant = (
                HALF_LOG_TWO_PI * batch[key][0, 0].numel()
            )  # the part of -ln q that no prediction can change
            metrics[f"model/{key}_error"] = metrics[f"model/{key}_loss"] - constant
        return losses, posterior, metrics

    def log_probs(self, feat: Tensor, embed: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Return the terms of the loss that are log-densities, at features `(B, T, F)` and embeddings `(B, T, E)`.

        Each is `(B, T)`: ln q(o_t | s_t) of each observation, or what the objective has in its place; ln q(r_t | s_t);
        and, with a discount head, ln q(discount_t | s_t).
        """
        result: dict[str, Tensor] = {}
        if self.reconstructs:
            result = self.decoder.log_probs(feat, batch)
        elif self.contrast and self.state_model:
            result = {"contrast": self.contrast(feat, *self.state_model(embed))}
        result["reward"] = unit_log_prob(self.reward(feat), self.reward_target(batch["reward"]))
        if self.pcont is not None:
            label = self.gamma * batch["discount"]  # soft labels, 0 and gamma (paper, Section 3)
            result["pcont"] = -F.binary_cross_entropy_with_logits(self.pcont(feat), label, reduction="none")
        return result

    def reward_target(self, reward: Tensor) -> Tensor:
        """Return what the reward head learns: rewards as they are, or their tanh (TF2 dreamer.py:329-341)."""
        return torch.tanh(reward) if self.options.clip_rewards == "tanh" else reward

    def kl(self, posterior: State, prior: State) -> tuple[Float[Tensor, "B T"], Float[Tensor, ""]]:
        """Return KL(posterior || prior) of states `(B, T, .)` at each step, `(B, T)`, and its loss, a scalar.

        By default the loss is max(mean KL, free nats), so below the free nats the KL has no gradient (as in TF2).
        `--rep-scale` and `--no-free-avg` change that. In a data-parallel run, the mean is that of all processes.
        """
        kl = gaussian.kl_divergence(posterior.mean, posterior.std, prior.mean, prior.std)
        if self.batch_mean or self.options.rep_scale or not self.options.free_avg:
            return kl, self._kl_loss_with_options(kl, posterior, prior)
        return kl, kl.mean().clamp(min=self.options.free_nats)

    def _kl_loss_with_options(self, kl: Tensor, posterior: State, prior: State) -> Tensor:
        """Return the loss with these options, or in a data-parallel run.

        - Without `free_avg`, each step is compared with the free nats by itself (paper, TF1).
        - With `rep_scale`, the loss below the free nats is the KL itself, with the whole gradient for the prior, and
          `rep_scale` times the gradient for the posterior. DreamerV3 has
          such weights above the free nats, and no gradient below them.
        - With `free_avg` in a data-parallel run, the mean over all processes is compared.
        """
        compared = kl.detach()
        if self.options.free_avg:
            compared = self.batch_mean(compared) if self.batch_mean else compared.mean()
        below = torch.full_like(kl, self.options.free_nats)
        if scale := self.options.rep_scale:
            mean, std = scale_gradient(posterior.mean, scale), scale_gradient(posterior.std, scale)
            below = gaussian.kl_divergence(mean, std, prior.mean, prior.std)
        return torch.where(compared < self.options.free_nats, below, kl).mean()

    def discount(self, feat: Float[Tensor, "*N F"]) -> Float[Tensor, "*N"]:
        """Return the discount of each state, `(..., F)` -> `(...)`: predicted if there is a head, else gamma."""
        if self.pcont is None:
            return torch.full(feat.shape[:-1], self.gamma, device=feat.device)
        return torch.sigmoid(self.pcont(feat))

    def filter(
        self, obs: dict[str, Tensor], latent: State, action: Float[Tensor, "N A"], generator: torch.Generator
    ) -> State:
        """Return the posterior `(N, .)` for observations `(N, ...)` and the state and action `(N, A)` before them."""
        noise = torch.randn(latent.stoch.shape, generator=generator, device=generator.device)
        posterior, _ = self.rssm.observe_step(latent, action, self.encoder(obs), noise)
        return posterior

    @torch.no_grad()
    def open_loop(self, batch: Batch, context: int, noise: Float[Tensor, "B T S"]) -> dict[str, Tensor]:
        """Filter the first `context` steps of `(B, T, ...)`, then predict the rest from the recorded actions alone.

        `noise` is `(B, T, S)`. Returns the decoded observations `(B, T, ...)`, images in [0, 1] (Figure 5).
        """
        seen = {key: x[:, :context] for key, x in batch.items()}
        embed = self.encoder(seen)
        posterior, _ = self.rssm.observe(embed, seen["action"], seen["is_first"], noise[:, :context])
        last = posterior.map(lambda x: x[:, -1])
        action, noise_s = batch["action"][:, context:].transpose(0, 1), noise[:, context:].transpose(0, 1)
        imagined = self.rssm.imagine(given, last, action, noise_s).feat.transpose(0, 1)
        means = self.decoder(torch.cat([posterior.feat, imagined], 1))
        return means | {key: (means[key].float() + 0.5).clamp(0, 1) for key in self.spec.images}
