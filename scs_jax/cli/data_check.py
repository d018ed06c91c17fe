"""`scs-jax data check`: is every picture of a data set whole, and there once?"""

HELP = """Reads and decodes every picture of a data set at full size. Reported are pictures that
cannot be read, empty files, such whose bytes are the same, damaged shards of a packed folder
(checksums), and with --against pictures that another data set has too. Then the exit code is 1,
else 0. Gray pictures and, with --near, such that look alike are counted, but change no exit code.

SPEC is what --data takes: a folder, a list, a packed folder, tfds:NAME:SPLIT, bundled."""

EXAMPLES = """
scs-jax data check photos
scs-jax data check train --against heldout --near 4 --out check.json
scs-jax data check tfds:oxford_flowers102:train
"""

_MOST = 5


def add_arguments(parser) -> None:
  from scs_jax.cli import data_arguments

  parser.add_argument("data", metavar="SPEC", help="the data set")
  parser.add_argument(
    "--against", metavar="SPEC", help="another data set, of which none should be in this one"
  )
  parser.add_argument(
    "--near",
    type=int,
    metavar="BITS",
    help="look for pictures that look alike too: whose difference hashes differ in so many of 64 "
    "bits or fewer; 0 to 15, 4 is usual",
  )
  parser.add_argument("--out", metavar="FILE", help="write everything that was found, as JSON")
  data_arguments.add_common(parser)


def run(args) -> int:
  import json
  import os

  from scs_jax.cli import data_arguments
  from scs_jax.data import check_records
  from scs_jax.errors import UserError

  if args.out is not None and (not args.out or os.path.isdir(os.path.expanduser(args.out))):
    raise UserError(f"--out {args.out!r}: expected a file for the findings")
  source = data_arguments.open_pictures(args.data)
  against = data_arguments.open_pictures(args.against) if args.against is not None else None
  found = check_records.check(source, args.near, against, args.threads, not args.quiet)
  _print_table(found, args)
  if args.out:
    content = {"data": args.data, "fingerprint": source.fingerprint, **found.as_json()}
    data_arguments.write(args.out, (json.dumps(content, indent=2) + "\n").encode())
    print(f"all findings: {args.out}")
  return int(found.wrong)


def _print_table(found, args) -> None:
  from scs_jax.data import listing

  print(f"{'short side in pixels':<30}{'pictures':>12}")
  counts = found.histogram()
  for label, count in counts:
    if count:
      share = count / max(1, len(found.sizes))
      print(f"  {label:<28}{count:>12,}  {'#' * round(30 * share)}".rstrip())
  extent = found.as_json()["sizes"]
  if extent:
    shown = ", ".join(f"{name} {w}x{h}" for name, (h, w) in extent.items())
    print(f"  {shown}")
  print(f"\n{'':<30}{'pictures':>12}")
  print(f"{'checked':<30}{found.records:>12,}")
  _row("cannot be read", len(found.unreadable), [cause for _, cause in found.unreadable])
  _row("empty files", found.empty, [])
  copies = sum(len(group) - 1 for group in found.duplicates)
  _row("copies, byte for byte", copies, map(" = ".join, found.duplicates))
  if args.against is not None:
    _row(f"also in {args.against}", len(found.shared), map(" = ".join, found.shared))
  if found.shards:
    _row("damaged shards", len(found.shards), map(": ".join, found.shards))
  _row("gray", len(found.gray), found.gray, wrong=False)
  if found.remarks:
    _row("read, with a remark", len(found.remarks), map(": ".join, found.remarks), wrong=False)
  if args.near is not None:
    alike = sum(len(group) for group in found.near)
    _row("look alike", alike, map(" ~ ".join, found.near), wrong=False)
  for line in listing.describe_results(found.results):
    print(line)
  print(_verdict(found))


def _verdict(found) -> str:
  if found.wrong:
    return "something is to be mended"
  if not found.gray:
    return "all is well"
  gray = f"{len(found.gray)} of {found.records}"
  return f"whole, but {gray} have no colour to learn from: data.exclude_gray=true leaves such out"


def _row(name: str, count: int, examples, wrong: bool = True) -> None:
  """A count, and the first few examples below it."""
  print(f"{name:<30}{count:>12,}{'  <- wrong' if count and wrong else ''}")
  examples = list(examples)
  for example in examples[:_MOST]:
    print(f"  {example.encode('utf-8', 'backslashreplace').decode()}")
  if len(examples) > _MOST:
    print(f"  and {len(examples) - _MOST} more")
