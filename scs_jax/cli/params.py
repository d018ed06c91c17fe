"""`scs-jax params`: what a config's networks weigh, beside what the paper reports."""

from scs_jax.cli import arguments

HELP = """Counts parameters without training or allocating anything: every network and its modules,
and the totals that the paper reports beside ours."""

EXAMPLES = """
scs-jax params --config scsnet/paper
scs-jax params --config scsnet/paper --config.network.texture_blocks=8
scs-jax params --config scsnet/small --json
"""


def add_arguments(parser) -> None:
  arguments.add_config(parser)
  parser.add_argument("--json", action="store_true", help="print JSON instead of a table")


def run(args) -> int:
  import json

  from scs_jax.core import parameters, resolve

  config = arguments.load_config(args)
  counts = parameters.count(resolve.build(config))
  reported = parameters.compare(counts, config.reported.get("parameters", ()))
  if args.json:
    print(json.dumps({"parameters": counts, "reported": reported}, indent=2))
    return 0
  print(f"{'network / module':<34}{'parameters':>14}")
  for name, number in counts.items():
    print(f"{'  ' * name.count('/') + name.rpartition('/')[2]:<34}{number:>14,}")
  if reported:
    print(f"\n{'as the paper counts':<34}{'ours':>14}{'paper':>14}{'difference':>12}")
    for row in reported:
      print(f"{row['name']:<34}{row['ours']:>14,}{row['paper']:>13.3f}M{row['difference']:>+12.2%}")
  return 0
