"""`scs-jax export`: a trained network as one file, for use alone."""

from scs_jax.cli import arguments

HELP = """Writes a trained network as one .safetensors file: parameters and statistics for use alone
(no optimizer, no discriminator), the config, the versions that trained it, and its card. Nothing in
the file is code, and no path of this machine. Every verb that takes a run takes such a file.

The card says what the network is, what it was trained on, how long, its figures and what it cannot
do: TOML or JSON with the sections summary, licence, data, budget, figures and limits, in one file
or several (scs_jax/training/model_card.py shows one)."""

EXAMPLES = """
scs-jax export runs/small small.safetensors
scs-jax export runs/small small.safetensors --step last --dtype float16 --card small.toml
scs-jax export small.safetensors half.safetensors --dtype float16
"""


def add_arguments(parser) -> None:
  add = parser.add_argument
  add("run", metavar="RUN", help=arguments.TRAINED)
  add("out", metavar="OUT", help="the .safetensors file; replaced where it exists")
  arguments.add_step(parser)
  add("--dtype", choices=("float32", "float16"), default="float32",
      help="of the parameters in the file; they are computed with in float32. Default float32")
  add("--card", nargs="+", metavar="FILE", help="of the model; default: that of RUN, if it has one")


def run(args) -> int:
  from scs_jax.training import model_card, model_file, models

  model_file.require_name(args.out)
  card = None if args.card is None else model_card.read(args.card)
  model = models.find(args.run, args.step)
  size = models.export(model, args.out, args.dtype, card)
  kept = "with its card" if card or model.card else "without a card"
  print(f"{args.out}: {model.name}, step {model.step}, {size / 1e6:.2f} MB, {args.dtype}, {kept}")
  return 0
