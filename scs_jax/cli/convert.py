"""`scs-jax convert`: published weight files into ones that a config can start from."""

HELP = """Converts a published weight file, read as data (no code in it is run), into an .npz for
--config.init_from. Prints where each tensor goes; a tensor that does not belong is an error.

kinds:
  zhang2017  the PyTorch state dict of Zhang et al. 2017's network (siggraph17-df00044c.pth), the
             base of SMSANet; its class head is left out"""

EXAMPLES = """
scs-jax convert zhang2017 siggraph17-df00044c.pth zhang2017.npz
scs-jax convert zhang2017 mine.pth mine.npz --centred-mask
"""

KINDS = ("zhang2017",)


def add_arguments(parser) -> None:
  parser.add_argument("kind", choices=KINDS, metavar="KIND", help=f"one of: {', '.join(KINDS)}")
  parser.add_argument("file", metavar="FILE", help="the published weights")
  parser.add_argument("out", metavar="OUT", help="the .npz to write; replaced where it exists")
  parser.add_argument(
    "--centred-mask",
    action="store_true",
    help="the weights were trained with the hint's mask less 0.5 (the published ones are not)",
  )


def run(args) -> int:
  from scs_jax.errors import UserError
  from scs_jax.methods.smsanet import weights
  from scs_jax.nn.features import files

  if not args.out.endswith(".npz"):
    raise UserError(f"OUT is {args.out!r}: expected a name that ends in .npz")
  converted = weights.from_published(files.read_arrays(args.file), source=args.file)
  print("\n".join(coverage(converted.table)))
  weights.save(args.out, converted.variables, 0.5 if args.centred_mask else 0.0)
  mask = "centred" if args.centred_mask else "not centred"
  print(f"\n{summary(converted)}; mask {mask}")
  print(f"{args.out}: written; start a training from it with --config.init_from={args.out}")
  return 0


def coverage(table) -> list[str]:
  """Lines of a table: each tensor and its shape, where it goes and its shape there."""
  rows = [("tensor", "shape", "ours", "shape")]
  for name, shape, place, ours in table:
    rows.append((name, _size(shape), place, "" if ours is None else _size(ours)))
  widths = [max(len(row[i]) for row in rows) for i in range(4)]
  return ["  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip()
          for row in rows]  # fmt: skip


def summary(converted) -> str:
  """One line: parameters taken over, and those of the class head that are not."""
  import jax

  count = sum(leaf.size for leaf in jax.tree.leaves(converted.variables["params"]))
  head = "the file has no class head"
  if converted.left_out:
    head = f"{converted.left_out:,} of the class head left out"
  return f"{count:,} parameters; {head}"


def _size(shape) -> str:
  return " x ".join(map(str, shape)) or "scalar"
