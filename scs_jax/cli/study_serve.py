"""`scs-jax study serve`: the page on which raters vote."""

HELP = """Serves the page on which raters vote, until Ctrl-C. Raters give a name, get a code by
which they go on later or elsewhere, and choose by touch or keyboard. Every vote is on the disk
before the page hears of it; the server may be killed and started again at any time, and the pages
wait for it.

Without --host only this machine reaches the page. With it whoever reaches the address can take
part, and what is sent is not encrypted: on the internet put a server with TLS before it."""

EXAMPLES = """
scs-jax study serve study
scs-jax study serve study --host 0.0.0.0 --port 8080
"""


def add_arguments(parser) -> None:
  add = parser.add_argument
  add("study", metavar="STUDY", help="a folder that `scs-jax study make` wrote")
  add("--host", default="127.0.0.1", metavar="ADDRESS", help="default 127.0.0.1: this machine")
  add("--port", type=int, default=8000, metavar="N", help="default 8000; 0: one that is free")


def run(args) -> int:
  import pathlib

  from scs_jax.core import stop
  from scs_jax.study import server as servers

  with stop.exiting(0):
    server = servers.Server(pathlib.Path(args.study), args.host, args.port)
    try:
      raters = server.votes.raters()
      votes = sum(there.done for _, there in raters)
      print(f"{args.study}: {len(raters)} raters, {votes} votes so far", flush=True)
      print(f"{server.address} (Ctrl-C stops; votes stay)", flush=True)
      server.serve_forever()
    except KeyboardInterrupt:
      pass
    finally:
      server.server_close()
  return 0
