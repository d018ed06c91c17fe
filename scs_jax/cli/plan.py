"""`scs-jax plan`: what training a config takes on a machine that need not be there."""

from scs_jax.cli import arguments

HELP = """Compiles the very step that `scs-jax train` runs, for a TPU slice, for NVIDIA GPUs or for
the devices at hand, and prints what it takes: parameters, arithmetic, device memory used and free,
traffic between chips and between machines, and from the chip's peak figures the time below which a
step cannot be. Nothing is trained, no pictures and no weight files are read, and no TPU or GPU is
needed: their compilers come with `pip install 'scs_jax[tpu]'` and `'scs_jax[gpu-plan]'`.

Topologies: KIND:SHAPE for TPUs, such as v5e:4x4 (16 chips), v5e:16x16, v6e:16x16, v5p:4x4x4 (64
chips). For GPUs KIND (one), KIND:GPUS or KIND:MACHINESxGPUS, such as h100:8 and h100:4x8; kinds are
h100, h200, b200, a100-80, a100-40, l4 and rtx4090."""

EXAMPLES = """
scs-jax plan --config scsnet/paper --topology v5e:4x4 --config.dtype=bfloat16
scs-jax plan --config scsnet/paper --topology h100:4x8 --config.dtype=bfloat16
scs-jax plan --config cycle_cnn/paper --topology v5e:2x2 --find-batch
scs-jax plan --config scsnet/small --per-device-batch 4 --by-operation
scs-jax plan --config scsnet/paper --topology v6e:16x16 --images 407041 --json
scs-jax plan --config scsnet/paper --topology h100:8 --out gs://bucket/plans/scsnet_h100.json
"""


def add_arguments(parser) -> None:
  add = parser.add_argument
  arguments.add_config(parser)
  add("--topology", metavar="KIND:SHAPE",
      help="a TPU slice or NVIDIA GPUs; default: the devices of this machine")
  batch = parser.add_mutually_exclusive_group().add_argument
  batch("--per-device-batch", type=int, metavar="N",
        help="examples a chip and step; default: the config's batch_size over the chips, or 1")
  batch("--find-batch", action="store_true",
        help="find the largest batch a chip that fits its memory (compiles several times)")
  add("--images", type=int, metavar="N",
      help="pictures of the training set, for configs that count epochs")
  add("--by-operation", action="store_true",
      help="list the operations that move most bytes, through the device's memory and on the chip")
  add("--json", action="store_true", help="print JSON instead of tables")
  add("--out", metavar="FILE",
      help="write the JSON to a file as well, replaced if there; here or in a bucket (gs://, s3://)")


def run(args) -> int:
  import json
  import os
  import sys

  import scs_jax
  from scs_jax.data import location, remote
  from scs_jax.errors import UserError

  for name in ("per_device_batch", "images"):
    value = getattr(args, name)
    if value is not None and value < 1:
      raise UserError(f"--{name.replace('_', '-')} is {value}: expected 1 or more")
  if args.out is not None:  # refused before the work
    place, name = remote.split(args.out)
    if not name or os.path.isdir(args.out):
      raise UserError(f"--out {args.out or repr('')}: expected a file's name")
    place.make()
  found = scs_jax.plan(
    arguments.load_config(args),
    topology=args.topology,
    per_device_batch=args.per_device_batch,
    find_batch=args.find_batch,
    images=args.images,
    by_operation=args.by_operation,
    name=args.config,
    log=lambda text: print(text, file=sys.stderr, flush=True),
  )
  text = json.dumps(found.record, indent=2)
  if args.out is not None:
    location.write(args.out, (text + "\n").encode())
  if args.json:
    print(text)
  else:
    found.show()
  return 0
