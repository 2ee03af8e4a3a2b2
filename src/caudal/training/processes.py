"""The processes of a job: how many a launcher has started, which of them leads, and their loss."""

import os
from dataclasses import replace
from datetime import timedelta
from typing import NamedTuple

from torch import distributed as dist

from caudal.training.options import Training

_BY_HAND = ("bash", "interactive")  # jobs of Slurm in which nobody has started processes


class Launched(NamedTuple):
    """What a launcher says of the processes of this job.

    Attributes:
        rank: the number of this process, from 0.
        world: how many there are.
        here: how many of them are on this machine.
        address: of the machine of the first one, for the others to find it.
        port: of the first one.
    """

    rank: int
    world: int
    here: int
    address: str
    port: int


def launched() -> Launched | None:
    """The processes that torchrun or Slurm has started; None where this one stands alone."""
    env = os.environ
    if "LOCAL_WORLD_SIZE" in env:  # torchrun
        world, rank = int(env["WORLD_SIZE"]), int(env.get("RANK", "0"))
        here = int(env["LOCAL_WORLD_SIZE"])
    elif env.get("SLURM_STEP_NUM_TASKS", "1") != "1" and env.get("SLURM_JOB_NAME") not in _BY_HAND:
        world, rank = int(env["SLURM_NTASKS"]), int(env.get("SLURM_PROCID", "0"))
        here = max(1, world // int(env.get("SLURM_NNODES", "1")))
    else:
        return None
    return Launched(rank, world, here, env.get("MASTER_ADDR") or _first_host(), _port())


def _first_host() -> str:
    """The machine of the first process of a step of Slurm."""
    from lightning_fabric.plugins.environments import SLURMEnvironment

    nodes = os.environ.get("SLURM_STEP_NODELIST") or os.environ.get("SLURM_NODELIST", "127.0.0.1")
    return SLURMEnvironment.resolve_root_node_address(nodes)


def _port() -> int:
    """A port that all processes of a job know; steps of one job have different ones."""
    env = os.environ
    if "MASTER_PORT" in env:
        return int(env["MASTER_PORT"])
    job, step = (int(env.get(name, "0")) for name in ("SLURM_JOB_ID", "SLURM_STEP_ID"))
    return 20_000 + (job * 31 + step) % 10_000


def as_launched(training: Training) -> Training:
    """The options with the devices and the machines for which torchrun or Slurm has processes.

    Raises:
        InputError: the batch has no equal share for each of them.
    """
    job = launched()
    if job is None:
        return training
    return replace(training, devices=job.here, num_nodes=max(1, job.world // job.here))


def leads() -> bool:
    """Whether this process is the one of its run that writes files and prints."""
    rank = os.environ.get("RANK")  # set by torchrun, over all machines
    if rank is None and "LOCAL_RANK" not in os.environ:
        rank = os.environ.get("SLURM_PROCID")
    if rank is not None:
        return int(rank) == 0
    return all(int(os.environ.get(name, "0")) == 0 for name in ("NODE_RANK", "LOCAL_RANK"))


def join(job: Launched) -> None:
    """Lets the processes of a launched job know each other."""
    dist.init_process_group(
        "gloo",
        init_method=f"tcp://{job.address}:{job.port}",
        rank=job.rank,
        world_size=job.world,
    )


def set_patience(patience: timedelta) -> None:
    """From now on a process that lets the others wait for longer is given up."""
    dist.distributed_c10d._set_pg_timeout(patience)


class ProcessLostError(ConnectionError):
    """Another process of the run was killed, failed, or cannot be reached any more."""


def is_of_processes(error: RuntimeError) -> bool:
    """Whether an error is one of the talk between processes, whose backend PyTorch calls."""
    return isinstance(error, dist.DistError) or any(
        word in str(error) for word in ("gloo", "Connection closed by peer", "NCCL")
    )


def how_lost(error: RuntimeError) -> str:
    """What has become of another process, by the error that this one has met."""
    if "timed out" in str(error).casefold():
        return "does not answer any more"
    return "has ended"
