"""`scs-jax convert`: published weight files into models of this package."""

HELP = """Converts a published weight file, read as data (no code in it is run), into a model's
file, as `scs-jax export` writes it: `colorize`, `evaluate` and `compare` take it as it is, and a
training starts from it by --config.init_from. Prints where each tensor goes; a tensor that does not
belong is an error.

kinds:
  zhang2017  the PyTorch state dict of Zhang et al. 2017's network (siggraph17-df00044c.pth), the
             base of SMSANet: colours automatically, its hint left empty; its class head is left
             out"""

EXAMPLES = """
scs-jax convert zhang2017 siggraph17-df00044c.pth zhang2017.safetensors
scs-jax convert zhang2017 mine.pth mine.safetensors --centred-mask
"""

KINDS = ("zhang2017",)


def add_arguments(parser) -> None:
  parser.add_argument("kind", choices=KINDS, metavar="KIND", help=f"one of: {', '.join(KINDS)}")
  parser.add_argument("file", metavar="FILE", help="the published weights")
  parser.add_argument("out", metavar="OUT", help="the .safetensors file; replaced where it exists")
  parser.add_argument(
    "--centred-mask",
    action="store_true",
    help="the weights were trained with the hint's mask less 0.5 (the published ones are not)",
  )


def run(args) -> int:
  import scs_jax
  from scs_jax.methods.smsanet import weights
  from scs_jax.nn.features import files
  from scs_jax.training import model_file

  model_file.require_name(args.out)
  converted = weights.from_published(files.read_arrays(args.file), source=args.file)
  print("\n".join(converted.coverage()))
  config, state = weights.automatic(converted.variables, 0.5 if args.centred_mask else 0.0)
  model_file.write(args.out, config, state, versions={"scs_jax": scs_jax.__version__})
  mask = "centred" if args.centred_mask else "not centred"
  print(f"\n{converted.summary()}; mask {mask}")
  print(
    f"{args.out}: written; colour with it by --checkpoint {args.out}, or start a training of "
    f"smsanet from it by --config.init_from={args.out}"
  )
  return 0
