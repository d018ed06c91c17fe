"""`scs-jax models`: the models that ship with the package, and what their makers say of them."""

HELP = """Lists the models that ship with the package: size, what they do, licence of the weights,
figures. With a name, or with a model's file: its card, whole. Every verb that takes a run takes
such a name.

The weights are for research: the pictures that they were trained on are research data. Their
licence is apart from the code's, which is Apache-2.0."""

EXAMPLES = """
scs-jax models
scs-jax models scsnet
scs-jax models small.safetensors
"""


def add_arguments(parser) -> None:
  parser.add_argument("name", nargs="?", metavar="NAME", help="whose card is shown")


def run(args) -> int:
  from scs_jax.training import models

  if args.name is None:
    models.show()
  else:
    models.find(args.name).show()
  return 0
