"""Finds methods by name: the engine's only way to one, so that it knows none of them."""

import functools
import importlib
import os
import sys
from types import ModuleType

from ml_collections import ConfigDict

from scs_jax.core import config as configs
from scs_jax.core import spelling
from scs_jax.core.contract import REQUIRED, Method
from scs_jax.core.rules import engine_rules, validate
from scs_jax.errors import UserError

BUILTIN = {
  "scsnet": "scs_jax.methods.scsnet.method:SCSNet",
  "smsanet": "scs_jax.methods.smsanet.method:SMSANet",
  "joint_sr": "scs_jax.methods.joint_sr.method:JointSR",
  "cycle_cnn": "scs_jax.methods.cycle_cnn.method:CycleCNN",
}


def _import(module_name: str, name: str) -> ModuleType:
  # A console script does not look into the working directory, where a user's own method often is.
  if os.getcwd() not in sys.path and "" not in sys.path:
    sys.path.append(os.getcwd())
  try:
    return importlib.import_module(module_name)
  except ModuleNotFoundError as err:
    if err.name and (module_name == err.name or module_name.startswith(err.name + ".")):
      raise UserError(
        f"config.method.name {name!r}: no module {err.name!r}; "
        "run where it can be imported, or add its folder to PYTHONPATH"
      ) from err
    raise UserError(
      f"config.method.name {name!r}: importing {module_name} needs the module {err.name!r}; "
      "install it"
    ) from err


def resolve(name: str) -> type[Method]:
  """Returns the class of a method: a built-in name (`scsnet`) or `module.path:Object`.

  Raises:
    UserError: an unknown name (with the nearest), a module or object that is not there, or an
      object that is no method.
  """
  if name in BUILTIN:
    target = BUILTIN[name]
  elif ":" in name:
    target = name
  else:
    raise UserError(
      f"config.method.name is {name!r}: expected one of {', '.join(sorted(BUILTIN))}, or "
      f"module.path:Object for your own; {spelling.hint(name, BUILTIN)}"
    )
  module_name, _, attribute = target.partition(":")
  if not module_name or not attribute:
    raise UserError(f"config.method.name is {name!r}: expected module.path:Object")
  module = _import(module_name, name)
  found = getattr(module, attribute, None)
  if found is None:
    public = [key for key in vars(module) if not key.startswith("_")]
    raise UserError(
      f"config.method.name {name!r}: {module_name} has no {attribute!r}; "
      f"{spelling.hint(attribute, public)}"
    )
  if not (isinstance(found, type) and issubclass(found, Method)):
    raise UserError(
      f"config.method.name {name!r}: {attribute} is no method class, it does not inherit from "
      "Method (see scs_jax/core/contract.py)"
    )
  missing = [part for part in REQUIRED if getattr(found, part) is getattr(Method, part)]
  if missing:
    raise UserError(
      f"config.method.name {name!r}: {attribute} is no method class, it lacks "
      f"{', '.join(missing)} (see scs_jax/core/contract.py)"
    )
  return found


def complete(config: ConfigDict) -> None:
  """Gives a config the method's keys that came after it was written, as it ran without them."""
  method = resolve(config.method.name)
  with config.unlocked():
    for path, value in method.EARLIER.items():
      *sections, name = path.split(".")
      section = config
      for part in sections:
        section = section.get(part, ConfigDict())
      if name not in section:
        section[name] = value


def build(config: ConfigDict) -> Method:
  """Returns the method that the config names, its engine and method ranges checked first.

  Equal configs give one object, so that what is traced for it is traced once.
  Keys that the config lacks since it was written before them are added (`complete`).

  Raises:
    UserError: from `resolve`, or a value out of range.
  """
  validate(config, engine_rules(config))
  if config.steps <= 0 and config.epochs <= 0:
    raise UserError(
      f"config.steps is {config.steps} and config.epochs {config.epochs}: expected one above 0; "
      "set --config.steps=N or --config.epochs=E"
    )
  method = resolve(config.method.name)
  complete(config)
  validate(config, method.RULES)
  return made(method, configs.to_json(config))


@functools.lru_cache(maxsize=16)
def made(method: type[Method], config: str) -> Method:
  """Makes a method of a config's text, or gives the one that was made of it before."""
  return method(configs.from_json(config))
