"""A method in one folder: a variational autoencoder of two linear layers (Kingma and Welling, 2014)."""

import torch
from torch import nn

from harness.types import Renders, Stage


class TinyVAE:
    stages = (Stage(),)

    def __init__(self, config, data, context):
        self.config, self.context = config, context
        self.shape = (3, data.resolution, data.resolution)
        pixels = 3 * data.resolution**2
        self.encoder = nn.Sequential(nn.Flatten(), nn.Linear(pixels, config.width), nn.ReLU())
        self.heads = nn.Linear(config.width, 2 * config.z_dim)
        self.decoder = nn.Sequential(nn.Linear(config.z_dim, config.width), nn.ReLU(), nn.Linear(config.width, pixels))
        self.net = nn.ModuleList([self.encoder, self.heads, self.decoder]).to(context.device)
        self.optimiser = torch.optim.Adam(self.net.parameters(), lr=config.lr)

    def train_step(self, batch, step):
        images = batch["image"]
        mean, log_var = self.heads(self.encoder(images)).chunk(2, 1)
        noise = torch.randn(mean.shape, generator=self.context.generator, device=mean.device)
        fakes = self.decoder(mean + noise * (log_var / 2).exp()).tanh().view_as(images)
        divergence = (mean.square() + log_var.exp() - log_var - 1).sum(1).mean() / 2
        loss = (fakes - images).square().flatten(1).sum(1).mean() + self.config.beta * divergence
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        return {"loss": loss.detach(), "divergence": divergence.detach()}

    def state_dict(self):
        return {"net": self.net.state_dict(), "optimiser": self.optimiser.state_dict()}

    def load_state_dict(self, state):
        self.net.load_state_dict(state["net"])
        self.optimiser.load_state_dict(state["optimiser"])

    def latents(self, n, generator):
        return torch.randn(n, self.config.z_dim, generator=generator, device=generator.device)

    @torch.no_grad()
    def sample(self, latents, cameras):
        return Renders(self.decoder(latents).tanh().view(len(latents), *self.shape))
