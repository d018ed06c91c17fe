"""`scs-jax study VERB`: studies with people, as two of the papers made them."""

from scs_jax.cli.main import Verb

HELP = "Asks people which pictures look right, as SCSNet's Table 3 and Cycle CNN's Figure 13 did."

VERBS = {
  "make": Verb(
    "scs_jax.cli.study_make",
    "draw a study from folders of results: pairs to choose from, or levels to give",
    "scs-jax study make --kind pairwise --results ours=colored other=out/other --out study",
  ),
  "serve": Verb(
    "scs_jax.cli.study_serve",
    "serve the page on which raters vote, on desks and phones",
    "scs-jax study serve study",
  ),
  "report": Verb(
    "scs_jax.cli.study_report",
    "what the votes say, in the papers' tables with their rows, with intervals and agreement",
    "scs-jax study report study",
  ),
}
