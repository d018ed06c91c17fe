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

  print("\n".join(_list() if args.name is None else _describe(models.find(args.name))))
  return 0


def _list() -> list[str]:
  """All that ship, with what one chooses by."""
  import textwrap

  from scs_jax.training import model_card, models

  names = models.names()
  if not names:
    return ["no models ship with this copy of scs_jax; colour with runs, or with files that "
            "`scs-jax export` wrote"]  # fmt: skip
  lines = []
  width = max(map(len, names)) + 2
  for name in names:
    model = models.shipped(name)
    card = model.card
    about = [_size(model), *model_card.headlines(card)]
    wrapped = [part for line in about for part in textwrap.wrap(
      line, 100 - width, subsequent_indent="  ")]  # fmt: skip
    lines += [(name if i == 0 else "").ljust(width) + part for i, part in enumerate(wrapped)]
  return [
    *lines,
    "",
    "The weights are for research, apart from the code's licence:",
    "the pictures that they saw are research data.",
    "`scs-jax models NAME` shows a card whole.",
  ]


def _describe(model) -> list[str]:
  """One, whole."""
  from scs_jax.training import model_card

  versions = ", ".join(f"{name} {version}" for name, version in sorted(model.versions.items()))
  return [
    f"{model.stem}: {_size(model)}",
    f"trained with {versions}",
    "",
    *model_card.lines(model.card),
  ]


def _size(model) -> str:
  """`2.10 MB, 1,050,000 parameters in float16, method scsnet, step 24000`; of a run less."""
  name, step = model.config.method.name, model.step
  if model.contents is None:
    return f"a run of {name}, step {step}"
  arrays = {k: a for k, a in model.contents.arrays.items() if k.startswith("params/")}
  count, kinds = sum(a.size for a in arrays.values()), {str(a.dtype) for a in arrays.values()}
  size = model.path.stat().length / 1e6
  return f"{size:.2f} MB, {count:,} parameters in {'/'.join(kinds)}, method {name}, step {step}"
