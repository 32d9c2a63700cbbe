"""FSDP spreads a model over processes, and it learns what one process teaches it. On processors: gloo, one thread each."""

import math

import pytest
import torch
from torch import distributed, nn
from torch.distributed.fsdp import FullyShardedDataParallel

from ccvae.config import ModelConfig, TrainConfig
from ccvae.distributed.shard import Shard
from ccvae.distributed.shutdown import exit_now
from ccvae.labels import Binary, Categorical, LabelSpace
from ccvae.model.bound import bound
from ccvae.model.ccvae import CCVAE
from ccvae.training.intervention_losses import intervention_loss
from ccvae.training.optimizer import build_optimizer, decayed_parameters

ROWS, STEPS = 8, 3


class Objective(nn.Module):
    """What training minimises, of a process's share of rows."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        space = LabelSpace((Binary("a"), Binary("b"), Categorical("c", ("x", "y", "z"))))
        config = ModelConfig(network="paper", latent_dim=12, dropout=0.0, learn_scale=True)
        self.model = CCVAE(space, (3, 16, 16), config).double()

    def forward(self, x, y, step, shard):
        generator = torch.Generator().manual_seed(step)
        result = bound(self.model, x[shard.rows], y[shard.rows], generator=generator, shard=shard)
        loss = intervention_loss(self.model, result.posterior, generator, shard) - result.weighted(1.0, 10.0)
        return loss.sum() * (shard.world_size / shard.total)


def trained(objective, shard, wrap):
    """A state after some steps."""
    decayed = decayed_parameters(objective.model)
    wrapped = wrap(objective)
    # of names within the model, as Lightning's module has them
    optimizer, schedule = build_optimizer(wrapped.get_submodule("model"), TrainConfig(learning_rate=1e-3), STEPS, decayed)
    generator = torch.Generator().manual_seed(1)
    x = torch.rand(ROWS, 3, 16, 16, generator=generator, dtype=torch.float64)
    y = torch.tensor([[1, 0, 2], [0, math.nan, 1], [math.nan] * 3, [1, 1, math.nan]] * 2, dtype=torch.float64)
    for step in range(STEPS):
        optimizer.zero_grad()
        wrapped(x, y, step, shard).backward()
        optimizer.step()
        schedule.step()
    return wrapped


def sharded(rank, address, folder):
    """One of two processes; the first writes what was learned."""
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{address}", rank=rank, world_size=2)
    wrapped = trained(Objective(), Shard(ROWS, rank, 2), wrapped_whole)
    with FullyShardedDataParallel.summon_full_params(wrapped):
        if rank == 0:
            found = {name.replace("_fsdp_wrapped_module.", ""): tensor.clone() for name, tensor in wrapped.named_parameters()}
            torch.save(found, folder / "weights.pt")
    distributed.barrier()
    exit_now()


def wrapped_whole(objective):
    return FullyShardedDataParallel(objective, use_orig_params=True, device_id=torch.device("cpu"))


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_two_processes_learn_what_one_does(tmp_path):
    torch.multiprocessing.spawn(sharded, (tmp_path / "meeting", tmp_path), nprocs=2)
    found = torch.load(tmp_path / "weights.pt", weights_only=True)
    alone = dict(trained(Objective(), Shard(ROWS), lambda objective: objective).named_parameters())
    before = dict(Objective().named_parameters())
    assert found.keys() == alone.keys()
    for name, tensor in alone.items():
        torch.testing.assert_close(
            found[name], tensor.detach(), rtol=1e-9, atol=1e-9, msg=lambda text, name=name: f"{name}: {text}"
        )
        assert not torch.equal(found[name], before[name]), name
