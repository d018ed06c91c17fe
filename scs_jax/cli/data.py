"""`scs-jax data VERB`: looks after data sets. A further verb is one entry here and one module."""

from scs_jax.cli.main import Verb

HELP = "Looks at data, and prepares it, before a training does."

VERBS = {
  "check-stereo": Verb(
    "scs_jax.cli.data_check_stereo",
    "measure stereo pairs: rectified or not, disparities, which view is monochrome; with plots",
    "scs-jax data check-stereo pairs --search-range 64",
  ),
  "check": Verb(
    "scs_jax.cli.data_check",
    "read and decode every picture: damaged ones, copies, gray ones, sizes",
    "scs-jax data check photos",
  ),
  "pack": Verb(
    "scs_jax.cli.data_pack",
    "pack pictures into ArrayRecord shards, with checksums; goes on where it was interrupted",
    "scs-jax data pack photos photos_packed",
  ),
  "select": Verb(
    "scs_jax.cli.data_select",
    "select pictures by file size and colour variation, as ImageNet-C was made",
    "scs-jax data select imagenet/train --out imagenet_c.txt",
  ),
  "split": Verb(
    "scs_jax.cli.data_split",
    "deal stereo pairs at random to a training and a held-out list",
    "scs-jax data split mono,color --heldout 300 --out lists",
  ),
}
