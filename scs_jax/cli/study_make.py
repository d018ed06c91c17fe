"""`scs-jax study make`: draws a study from folders of results."""

HELP = """Draws a study from folders of results, and copies the pictures into a folder of its own in
which no name and no metadata tells who made them. Folders of results are those of `scs-jax compare
--results`: matched by file name, with a subfolder for each mode if they like.

pairwise is SCSNet's (Section 4.2, Table 3): 500 pictures, half of them automatic and half
referential where there are both; the first of --results against each other, a second each; which
is more authentic? levels is Cycle CNN's (Section IV-D, Figure 13): 100 pairs, every method's
result, five levels from Perfect to Totally Wrong, some asked again.

Order, sides and repeats are drawn by --seed, for each rater anew. A study may be of any size: try
it with a few --pictures first. --per-rater gives each rater a part; parts are dealt so that all
questions get as many votes."""

EXAMPLES = """
scs-jax study make --kind pairwise --results ours=colored deoldify=out/deoldify --out study
scs-jax study make --kind pairwise --results ours=a he=b --data coco=coco/val2017 --per-rater 200
scs-jax study make --kind levels --results ours=first jeon=out/jeon --data middlebury --pictures 10
"""


def add_arguments(parser) -> None:
  from scs_jax.cli import quantities

  add = parser.add_argument
  add("--kind", required=True, choices=("pairwise", "levels"), help="what is asked, see above")
  add(
    "--results",
    nargs="+",
    action="extend",
    required=True,
    metavar="NAME=DIR",
    help="methods and their pictures; the first is ours",
  )
  add(
    "--data",
    metavar="[NAME=]DATA",
    help="the data set that was coloured: only its pictures are drawn; of levels, each is shown "
    "beside its results, of stereo pairs the colour view",
  )
  add(
    "--modes",
    metavar="LIST",
    help="of automatic,self,random,first,second; default: the first three of pairwise, where they "
    "are there, and first of levels",
  )
  add(
    "--pictures",
    type=quantities.count,
    metavar="N",
    help="default: 500 of pairwise, 100 of levels, or as many as there are",
  )
  add(
    "--seconds",
    type=quantities.amount,
    metavar="X",
    help="that a pair is shown; 0: until the answer; default 1",
  )
  add(
    "--repeats",
    type=quantities.amount,
    metavar="SHARE",
    help="of a rater's questions of levels that are asked again; default 0.05",
  )
  add(
    "--per-rater",
    type=quantities.count,
    metavar="N",
    help="questions of a rater, repeats not counted; default: all",
  )
  add("--seed", type=int, default=0, metavar="N", help="of all draws; default 0")
  add("--out", default="study", metavar="DIR", help="the study's folder; default study")
  add("--quiet", action="store_true", help="no progress bar")


def run(args) -> int:
  import pathlib

  from scs_jax.study import make

  out = pathlib.Path(args.out)
  design = make.make(
    args.kind,
    _results(args.results),
    out,
    data=_data(args.data),
    modes=_modes(args.modes),
    pictures=args.pictures,
    seconds=args.seconds,
    repeats=args.repeats,
    per_rater=args.per_rater,
    seed=args.seed,
    progress=not args.quiet,
  )
  size = sum(path.stat().st_size for path in out.rglob("*.png")) / 1e6
  print(
    f"{out}: {design.pictures} pictures of {len(design.methods)} methods, "
    f"{design.per_rater + design.repeats} questions a rater, {size:.1f} MB"
  )
  print(f"next: scs-jax study serve {out}")
  return 0


def _results(texts: list[str]) -> dict:
  """Reads NAME=DIR, in order."""
  import pathlib

  from scs_jax.errors import UserError

  found = {}
  for text in texts:
    name, _, folder = text.partition("=")
    if not name.strip() or not folder:
      raise UserError(f"--results {text}: expected NAME=DIR, the method's name and its folder")
    if name.strip() in found:
      raise UserError(f"--results: two methods called {name.strip()!r}; give each its own name")
    found[name.strip()] = pathlib.Path(folder)
  return found


def _data(text: str | None) -> tuple[str, str] | None:
  """Reads [NAME=]DATA; the name is else the folder's."""
  import pathlib

  from scs_jax.errors import UserError

  if text is None:
    return None
  name, _, spec = text.rpartition("=")
  if not spec or "/" in name:
    raise UserError(f"--data {text!r}: expected a data set, or NAME=DATA")
  return name or pathlib.Path(spec).resolve().name, spec


def _modes(text: str | None) -> tuple[str, ...]:
  """Reads a list of modes."""
  from scs_jax.core import spelling
  from scs_jax.errors import UserError
  from scs_jax.study.design import PARTS

  modes = tuple(dict.fromkeys(mode.strip() for mode in (text or "").split(",") if mode.strip()))
  for mode in modes:
    if mode not in PARTS:
      raise UserError(f"--modes: no mode {mode!r}; {spelling.hint(mode, PARTS)}")
  return modes
