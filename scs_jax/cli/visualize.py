"""`scs-jax visualize VERB`: figures of what a trained network does. A further verb is one entry."""

from scs_jax.cli.main import Verb

HELP = "Draws what a trained network does, as the papers' figures do."

VERBS = {
  "attention": Verb(
    "scs_jax.cli.visualize_attention",
    "where SCSNet looks in the reference for chosen points, and what its valves let through",
    "scs-jax visualize attention gray.jpg --reference color.jpg --checkpoint runs/scsnet",
    compiles=True,
  ),
  "magnify": Verb(
    "scs_jax.cli.visualize_magnify",
    "one picture at many real magnifications: a contact sheet and an animation",
    "scs-jax visualize magnify gray.jpg --checkpoint runs/scsnet --scales 1:4:0.5",
    compiles=True,
  ),
  "confidence": Verb(
    "scs_jax.cli.visualize_confidence",
    "Cycle CNN's confidence, disparities and curve for a stereo pair",
    "scs-jax visualize confidence pairs --checkpoint runs/cycle",
    compiles=True,
  ),
}
