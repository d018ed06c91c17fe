"""Configs: names, overrides, ranges and the written form."""

import math
import subprocess
import sys

import pytest
from ml_collections import ConfigDict, FieldReference, config_dict

from scs_jax.core import config
from scs_jax.errors import UserError


def _example() -> ConfigDict:
  c = ConfigDict(
    {
      "seed": 0,
      "optimizer": {"learning_rate": 1e-4, "betas": (0.9, 0.999), "nesterov": False},
      "data": {"crop": (64, 64), "source": "bundled", "names": ("a", "b"), "mixed": (1, 0.5)},
      "weights": config_dict.placeholder(str),
      "limit": config_dict.placeholder(int),
      "plain_none": None,
      "nested": ((0, 1), (2, 3)),
      "empty": (),
      "reported": {},
    }
  )
  return c.lock()


def _message(call, *args) -> str:
  with pytest.raises(UserError) as caught:
    call(*args)
  assert "\n" not in str(caught.value)
  return str(caught.value)


class TestOverrides:
  @pytest.mark.parametrize(
    ("override", "path", "expected"),
    [
      ("seed=7", "seed", 7),
      ("seed=-7", "seed", -7),
      ("optimizer.learning_rate=3e-4", "optimizer.learning_rate", 0.0003),
      ("optimizer.learning_rate=1", "optimizer.learning_rate", 1.0),
      ("optimizer.nesterov=true", "optimizer.nesterov", True),
      ("optimizer.nesterov=1", "optimizer.nesterov", True),
      ("optimizer.nesterov=False", "optimizer.nesterov", False),
      ("optimizer.betas=0.5,0.9", "optimizer.betas", (0.5, 0.9)),
      ("optimizer.betas=(1,0)", "optimizer.betas", (1.0, 0.0)),
      ("data.crop=2,2", "data.crop", (2, 2)),
      ("data.crop=( 2, 3, 4 )", "data.crop", (2, 3, 4)),
      ("data.crop=5", "data.crop", (5,)),
      ("data.crop=5,", "data.crop", (5,)),
      ("data.crop=()", "data.crop", ()),
      ("data.names=c,'d'", "data.names", ("c", "d")),
      ("data.mixed=2,3", "data.mixed", (2.0, 3.0)),
      ("data.source=/a=b/c", "data.source", "/a=b/c"),
      ("data.source=", "data.source", ""),
      ("weights=vgg.npz", "weights", "vgg.npz"),
      ("weights=none", "weights", None),
      ("limit=12", "limit", 12),
      ("plain_none=0.5", "plain_none", 0.5),
      ("plain_none=word", "plain_none", "word"),
      ("nested=(4,5),(6,7)", "nested", ((4, 5), (6, 7))),
      ("empty=1,0.5,x", "empty", (1, 0.5, "x")),
    ],
  )
  def test_sets_the_value_in_the_default_type(self, override, path, expected):
    before = _example()
    after = config.apply_overrides(before, [override])
    value = after[path]
    assert value == expected
    assert type(value) is type(expected)
    if isinstance(expected, tuple):
      assert [type(v) for v in value] == [type(v) for v in expected]
    assert after.is_locked
    assert config.difference(before, _example()) == []  # the argument stays as it was

  def test_later_ones_win(self):
    assert config.apply_overrides(_example(), ["seed=1", "seed=2"]).seed == 2

  def test_references_follow_their_source(self):
    c = ConfigDict({"steps": 10})
    c.warmup = c.get_ref("steps") * 2
    assert config.apply_overrides(c.lock(), ["steps=4"]).warmup == 8
    assert c.warmup == 20

  @pytest.mark.parametrize(
    ("key", "right"),
    [
      ("optimizer.learning_rat", "optimizer.learning_rate"),
      ("optimiser.learning_rate", "optimizer.learning_rate"),
      ("learning_rate", "optimizer.learning_rate"),
      ("seeed", "seed"),
      ("data.corp", "data.crop"),
    ],
  )
  def test_a_misspelt_key_names_the_nearest(self, key, right):
    message = _message(config.apply_overrides, _example(), [f"{key}=1"])
    assert f"--config.{key};" in message
    assert f"did you mean --config.{right}?" in message

  def test_a_key_like_no_other_lists_the_section(self):
    message = _message(config.apply_overrides, _example(), ["optimizer.zzzzzz=1"])
    assert "betas, learning_rate, nesterov" in message

  @pytest.mark.parametrize(
    ("override", "parts"),
    [
      ("seed=1.5", ["config.seed", "an int", "'1.5'", "now 0"]),
      ("seed=many", ["an int", "'many'"]),
      ("optimizer.learning_rate=fast", ["a float", "'fast'", "now 0.0001"]),
      ("optimizer.nesterov=maybe", ["true, false", "'maybe'", "now False"]),
      ("data.crop=2,x", ["tuple of int", "'2,x'", "now (64, 64)"]),
      ("data.crop=2.5,2", ["tuple of int"]),
      ("nested=1,2", ["tuple of tuple", "'1,2'"]),
      ("limit=few", ["an int or none", "'few'", "now None"]),
      ("optimizer=3", ["is a section with 3 keys", "--config.optimizer.betas="]),
      ("reported=3", ["is a section", "empty"]),
      ("seed.low=3", ["config.seed is a single value", "now 0"]),
      ("seed", ["expected KEY=VALUE"]),
    ],
  )
  def test_a_wrong_value_says_what_was_expected(self, override, parts):
    message = _message(config.apply_overrides, _example(), [override])
    for part in parts:
      assert part in message


class TestRules:
  @pytest.mark.parametrize(
    ("rule", "allowed", "refused", "near"),
    [
      (config.Between(0, 1), 1, 1.5, 1),
      (config.Between(0, 1), 0, -2, 0),
      (config.Between(0, 1, open_low=True), 1e-9, 0, None),
      (config.Between(0, 1, open_high=True), 0.99, 1, None),
      (config.Between(0.0, 1.0), 0.5, math.nan, None),
      (config.Between(0.0, 1.0), 0.5, True, None),
      (config.Between(0.0, 1.0), 0.5, "0.5", None),
      (config.Positive, 1e-30, 0.0, None),
      (config.Positive, 3, math.inf, None),
      (config.AtLeast(2), 2, 1, 2),
      (config.OneOf("jit", "pmap"), "pmap", "pmpa", "pmap"),
      (config.OneOf(2, 4, 8), 4, 5, 4),
      (config.OneOf(True, False), True, 1, None),
      (config.MultipleOf(16), 48, 50, 48),
      (config.MultipleOf(16), 16, 0, 16),
      (config.MultipleOf(16, low=0), 0, 7, 0),
      (config.MultipleOf(16), 64, 57, 64),
      (config.Each(config.AtLeast(1)), (), (0, 3), (1, 3)),
      (config.Each(config.AtLeast(1), length=2), (1, 2), (1, 2, 3), None),
      (config.Each(config.OneOf("a")), ("a", "a"), "a", None),
      (config.Optional(config.AtLeast(1)), None, 0, 1),
    ],
  )
  def test_allows_and_names_the_nearest(self, rule, allowed, refused, near):
    assert rule.allows(allowed)
    assert not rule.allows(refused)
    assert rule.nearest(refused) == near
    assert near is None or rule.allows(near)

  def test_the_message_names_key_range_value_and_nearest(self):
    c = ConfigDict({"data": {"max_zoom": 0.5}})
    message = _message(config.validate, c, {"data.max_zoom": config.Between(1.0, 4.0)})
    for part in ("config.data.max_zoom", "[1.0, 4.0]", "got 0.5", "nearest allowed is 1.0"):
      assert part in message

  def test_a_missing_key_is_named_and_an_unruled_one_left_alone(self):
    c = ConfigDict({"a": 1, "mine": object()})
    config.validate(c, {"a": config.AtLeast(1)})
    assert "no key data.crop" in _message(config.validate, c, {"data.crop": config.Positive})

  def test_the_engine_rules_cover_every_number_and_choice_of_common(self):
    leaves = config.flatten(config.load("common"))
    config.validate(config.load("common"), config.ENGINE_RULES)
    names = {"method.name", "data.source", "data.heldout", "checkpoint.best_metric"}
    names |= {"init_from", "evaluate.lpips_files"}
    assert set(leaves) - set(config.ENGINE_RULES) == names
    assert set(config.ENGINE_RULES) <= set(leaves)


class TestLoad:
  def test_a_misspelt_name_gives_the_nearest(self, monkeypatch):
    monkeypatch.setattr(config, "list_configs", lambda: ["scsnet/paper", "scsnet/small"])
    assert "did you mean scsnet/paper?" in _message(config.load, "scsnet/papr")
    assert "choose from scsnet/paper, scsnet/small" in _message(config.load, "qqq")

  def test_a_users_file_starts_from_another_config(self, tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(
      "from scs_jax.core import config\n"
      "def get_config():\n"
      "  c = config.load('common')\n"
      "  c.seed = 5\n"
      "  with c.unlocked():\n"
      "    c.extra = 1.5\n"
      "  return c\n"
    )
    c = config.load(str(path))
    assert (c.seed, c.extra, c.is_locked) == (5, 1.5, True)
    assert config.difference(config.load("common"), c) == [
      ("extra", config.ABSENT, 1.5),
      ("seed", 0, 5),
    ]

  def test_one_of_ours_may_be_given_by_its_path(self):
    path = config._modules()["common"]
    assert config.to_json(config.load(str(path))) == config.to_json(config.load("common"))

  @pytest.mark.parametrize(
    ("text", "part"),
    [
      ("x = 1\n", "no get_config()"),
      ("def get_config(:\n", "SyntaxError"),
      ("def get_config():\n  return 3\n", "returned int"),
      ("from . import common\n", "scs_jax.configs import common"),
      (
        "from scs_jax.core import config\ndef get_config():\n"
        "  c = config.load('common')\n  c.seeed = 1\n  return c\n",
        "seeed",
      ),
    ],
  )
  def test_a_file_that_is_no_config_says_why(self, tmp_path, text, part):
    path = tmp_path / "bad.py"
    path.write_text(text)
    with pytest.raises(UserError, match=r"bad\.py") as caught:
      config.load(str(path))
    assert part in str(caught.value)

  def test_a_missing_file_and_a_forgotten_ending(self, tmp_path, monkeypatch):
    assert "no such file" in _message(config.load, str(tmp_path / "none.py"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text("")
    assert "did you mean the file mine.py?" in _message(config.load, "mine")

  def test_the_engine_config_imports_no_jax(self):
    code = (
      "import sys; from scs_jax.core import config; config.load('common');"
      "print([m for m in ('jax', 'numpy', 'tensorflow') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


class TestWrittenForm:
  def test_round_trip_keeps_values_and_types(self):
    before = _example()
    with before.unlocked():
      before.odd = ConfigDict(
        {"third": 0.1 + 0.2, "tiny": 5e-324, "one": 1.0, "inf": math.inf, "nan": math.nan,
         "yes": True, "deep": (1, (2.0, None), ()), "list": [1, (2,)], "text": 'ü "$x"'}
      )
    after = config.from_json(config.to_json(before))
    assert config.difference(before, after) == []
    assert after.is_locked and after.reported.is_locked and len(after.reported) == 0
    assert after.odd.deep == (1, (2.0, None), ())
    assert config.to_json(after) == config.to_json(before)

  def test_a_placeholder_keeps_its_type(self):
    after = config.from_json(config.to_json(_example()))
    assert isinstance(dict(after.items(preserve_field_references=True))["limit"], FieldReference)
    assert config.apply_overrides(after, ["limit=3"]).limit == 3
    assert "an int or none" in _message(config.apply_overrides, after, ["limit=x"])
    # and may be set back to none after it held a value
    held = config.from_json(config.to_json(config.apply_overrides(after, ["limit=3"])))
    assert config.apply_overrides(held, ["limit=none"]).limit is None

  def test_fingerprint_follows_the_content_alone(self):
    a = ConfigDict({"x": 1, "y": {"z": (1, 2)}})
    b = ConfigDict({"y": {"z": (1, 2)}, "x": 1})
    assert config.fingerprint(a) == config.fingerprint(b)
    assert len(config.fingerprint(a)) == 12
    for override in ("x=2", "y.z=1", "y.z=1,3"):
      assert config.fingerprint(config.apply_overrides(a, [override])) != config.fingerprint(a)
    assert config.fingerprint(ConfigDict({"x": 1.0, "y": {"z": (1, 2)}})) != config.fingerprint(a)

  def test_difference_tells_types_apart(self):
    a, b = ConfigDict({"x": 1, "y": math.nan}), ConfigDict({"x": 1.0, "y": math.nan})
    assert config.difference(a, b) == [("x", 1, 1.0)]

  @pytest.mark.parametrize("text", ["", "{", "[]", "3", '{"a": {"$optional": "what"}}'])
  def test_a_broken_text_is_a_user_error(self, text):
    assert "cannot be read" in _message(config.from_json, text)

  def test_what_cannot_be_written_is_named(self):
    assert "config.a.b holds a set" in _message(config.to_json, ConfigDict({"a": {"b": {1}}}))
