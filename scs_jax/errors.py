"""The one exception that a user is meant to read."""


class UserError(Exception):
  """Something only the user can mend: one line that says what was expected, what came, what to do.

  The command line prints the message without a traceback and exits with code 2.
  """


class DecodeError(Exception):
  """These bytes are no picture that can be read; the message names the picture and the cause."""
