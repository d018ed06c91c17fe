"""`scs-jax params`: what a config's networks weigh, beside what the paper reports."""

HELP = """Counts parameters without training or allocating anything: every network and its modules,
and the totals that the paper reports beside ours."""

EXAMPLES = """
scs-jax params --config scsnet/paper
scs-jax params --config scsnet/paper --config.network.texture_blocks=8
scs-jax params --config scsnet/small --json
"""


def add_arguments(parser) -> None:
  from scs_jax.cli import arguments

  arguments.add_config(parser)
  parser.add_argument("--json", action="store_true", help="print JSON instead of a table")


def run(args) -> int:
  import json

  from scs_jax.cli import arguments
  from scs_jax.core import parameters, resolve

  config = arguments.load_config(args)
  counts = parameters.count(resolve.build(config))
  reported = compare(counts, config.reported.get("parameters", ()))
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


def compare(counts: dict[str, int], reported) -> list[dict]:
  """Rows of the paper's totals: (name, (network or network/module, ...), millions) -> dicts.

  Raises:
    UserError: a part that the networks do not have.
  """
  from scs_jax.core import spelling
  from scs_jax.errors import UserError

  rows = []
  for name, parts, millions in reported:
    for part in parts:
      if part not in counts:
        raise UserError(
          f"config.reported.parameters, {name!r}: no network or module {part!r}; "
          f"{spelling.hint(part, counts)}"
        )
    ours = sum(counts[part] for part in parts)
    difference = ours / (millions * 1e6) - 1
    rows.append({"name": name, "ours": ours, "paper": millions, "difference": difference})
  return rows
