"""Flags of the verbs that several processes can run together, and how these begin and end."""

import argparse
import contextlib
from collections.abc import Iterator

from scs_jax.errors import UserError

FLAGS = ("distributed", "coordinator", "num_processes", "process_id")
HELP = """Several processes, one a host, are each started with the same command, and --distributed
auto or where to meet; they share the pictures, find what one would find, and the first one writes
it. What is read must be there for all of them."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Adds the flags by which processes find each other."""
  add = parser.add_argument_group("several processes").add_argument
  add("--distributed", choices=("auto",),
      help="find the other processes by what the cluster says: TPU pods, SLURM, Open MPI")
  add("--coordinator", metavar="HOST:PORT",
      help="where to meet: an address of process 0, a free port")
  add("--num-processes", type=int, metavar="N", help="how many there are")
  add("--process-id", type=int, metavar="I", help="which this one is, from 0")


def asked(args: argparse.Namespace) -> bool:
  """Tells whether this is one process of several.

  Raises:
    UserError: flags that exclude each other.
  """
  by_hand = any(getattr(args, name) is not None for name in FLAGS[1:])
  if args.distributed is not None and by_hand:
    raise UserError("--distributed auto finds out by itself; give it, or --coordinator, not both")
  return by_hand or args.distributed is not None


@contextlib.contextmanager
def joined(args: argparse.Namespace, goes_on: bool = False) -> Iterator[None]:
  """Joins the other processes where there are some; none then leaves without the others' knowing.

  Args:
    args: with the flags of `add_arguments`.
    goes_on: whether the same command goes on from what has been done, when a process was lost.
  """
  if not asked(args):
    yield
    return
  from scs_jax.core import failures
  from scs_jax.training import distributed, ending, heartbeat

  distributed.start(args.coordinator, args.num_processes, args.process_id)
  advice = heartbeat.ADVICE if goes_on else "start all processes again"
  with ending.ending_together(failures.explain, advice):
    yield


def is_first() -> bool:
  """Tells whether this process speaks for all of them."""
  from scs_jax.training import distributed

  return distributed.is_first()
