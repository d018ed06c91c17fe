"""`scs-jax study report`: what the votes of a study say."""

HELP = """Says what the votes of a study say so far, in the shape of SCSNet's Table 3 (shares of
ours against each other method) or of Cycle CNN's Figure 13 (shares of the five levels), with the
papers' rows where they printed any. Shares have intervals over raters; agreement is Krippendorff's
alpha. An annotation of levels whose repeat differs by more than one level is an outlier: both are
left out, and counted.

Writes report.html, tables.md, shares.csv and votes.csv (raters by number, never by name) into
STUDY/report. It may be asked while raters vote."""

EXAMPLES = """
scs-jax study report study
"""


def add_arguments(parser) -> None:
  parser.add_argument("study", metavar="STUDY", help="a folder that `scs-jax study make` wrote")


def run(args) -> int:
  import pathlib

  from scs_jax.study import report

  folder = pathlib.Path(args.study)
  print(report.write(folder))
  print(f"wrote {folder / report.FOLDER / 'report.html'}, tables.md, shares.csv, votes.csv")
  return 0
