"""Command lines become checked configurations; what does not exist is named with what is nearest."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from harness import config, registry
from harness.types import ConfigError, HarnessError

SUITE = "suite=3d_aware"


def one(plugin: Path, *words: str) -> config.RunConfig:
    return config.parse([SUITE, "tier=smoke", f"methods=[{plugin}]", *words])


def test_defaults_are_the_suites() -> None:
    made = config.parse([SUITE])
    assert made.tier == "micro"
    assert [choice.entry.name for choice in made.choices] == list(made.suite.methods)
    assert made.seeds == (0,)
    assert made.budget.name == "quick"
    assert made.references == made.suite.references
    assert (made.precision, made.executor, made.workers, made.run.device) == ("auto", "auto", None, "auto")
    assert made.store == registry.ROOT / "results" / "runs"
    assert made.out == made.store / "tables"


def test_outside_the_checkout_results_go_below_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PARALLAX_CACHE", str(tmp_path / "kept"))
    made = config.parse([SUITE])
    assert made.store == tmp_path / "results" / "runs"
    assert made.run.cache == tmp_path / "kept"


def test_the_issues_example() -> None:
    words = ["methods=[hologan]", "seeds=3", "tier=micro", "device=cuda", "hologan.identity_weight=0"]
    made = config.parse([SUITE, *words])
    (choice,) = made.choices
    assert made.seeds == (0, 1, 2)
    assert made.run.device == "cuda"
    assert choice.variants[0].overrides == {"identity_weight": 0}
    assert isinstance(choice.variants[0].config["identity_weight"], float)


def test_a_sweep_makes_one_variant_per_value(plugin: Path) -> None:
    (choice,) = one(plugin, "tiny_vae.beta=0.1,0.5,1", "tiny_vae.width=16,32").choices
    labels = [dict(variant.overrides) for variant in choice.variants]
    assert labels == [
        {"width": 16},
        {},
        {"beta": 0.5, "width": 16},
        {"beta": 0.5},
        {"beta": 1.0, "width": 16},
        {"beta": 1.0},
    ]


def test_a_value_equal_to_the_presets_is_no_override(plugin: Path) -> None:
    (choice,) = one(plugin, "tiny_vae.beta=0.1", "tiny_vae.z_dim=8").choices
    assert choice.variants[0].overrides == {}


@settings(deadline=None, max_examples=25)
@given(st.floats(allow_nan=False, allow_infinity=False, width=32))
def test_numbers_survive_the_way_through_hydra(value: float) -> None:
    folder = Path(__file__).parents[1] / "e2e" / "tiny_vae"
    (choice,) = one(folder, f"tiny_vae.beta={value!r}").choices
    assert math.isclose(choice.variants[0].config["beta"], value, rel_tol=0, abs_tol=0)


def test_seeds_and_budget_and_data(plugin: Path) -> None:
    made = one(plugin, "seeds=[5,1]", "budget=64", "data.options.prior=ring", "settings.n=8", "workers=2")
    assert made.seeds == (5, 1)
    assert (made.budget.name, made.budget.images) == ("custom", 64)
    assert made.data.prior is not None
    assert made.data.prior.name == "ring"
    assert made.settings["n"] == 8
    assert made.workers == 2


def test_another_data_set_gets_only_the_options_asked_for(plugin: Path) -> None:
    free = one(plugin, "data=objects/car").data
    assert free.prior is not None
    assert (free.prior.name, free.options["background"]) == ("ring", "random")
    asked = one(plugin, "data=objects/car", "data.options.prior=wide60", "data.options.background=sky").data
    assert asked.prior is not None
    assert (asked.prior.name, asked.options["background"]) == ("wide60", "sky")


def test_pictures_of_ones_own(plugin: Path, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    for k in range(20):
        Image.new("RGB", (40, 40), (k, k, k)).save(photos / f"{k}.png")
    made = one(plugin, "data=folder", f"root={photos}")
    assert made.data.name == "folder/flat"
    assert made.data.root == str(photos)
    words = ["methods=[hologan]", "data=folder", f"root={photos}"]
    with pytest.raises(ConfigError, match=r"hologan needs a pose prior.*data.options.prior="):
        config.parse([SUITE, *words])
    chosen = config.parse([SUITE, *words, "data.options.prior=front_gauss"])
    assert chosen.data.prior is not None
    with pytest.raises(HarnessError, match="root=PATH"):
        one(plugin, "data=folder")


def test_a_path_with_spaces_can_be_quoted(plugin: Path, tmp_path: Path) -> None:
    made = one(plugin, f"store='{tmp_path}/my results (1)'")
    assert made.store == tmp_path / "my results (1)"


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("tier=mikro", "tier: 'mikro'. Did you mean micro"),
        ("teir=micro", "unknown key 'teir'. Did you mean tier"),
        ("methods=[hologn]", "unknown method 'hologn'. Did you mean hologan"),
        ("methods=[]", "must be a list of names"),
        ("methods=[hologan,hologan]", "listed twice"),
        ("methods=hologan,pigan", r"Write methods=\[hologan,pigan\]"),
        ("hologan.identity_wieght=0", "Did you mean hologan.identity_weight"),
        ("hologan.identity_weight=much", "must be a number"),
        ("hologan.batch_size=0.5", "positive whole number"),
        ("hologan=3", "unknown key 'hologan'"),
        ("budget=claim", "budget for tier micro: 'claim'. Did you mean claims"),
        ("budget=0", "positive whole number"),
        ("device=cudo", "Did you mean cuda"),
        ("device=cpu:1", "device"),
        ("precision=fp16", "precision: 'fp16'"),
        ("executor=proceses", "Did you mean processes"),
        ("rerun=al", "rerun"),
        ("workers=0", "workers=0 must be a positive"),
        ("workers=true", "workers=True must be a positive"),
        ("seeds=-1", "seeds=-1"),
        ("seeds=[1,a]", "seeds="),
        ("seeds=1,5", r"Write seeds=\[1,5\]"),
        ("references=[floor:nois]", "Did you mean floor:noise"),
        ("data.options.prior=rnig", "Did you mean .?ring"),
        ("data.options.prior=ring,wide60", "is a sweep"),
        ("data=objects/hed", "Did you mean objects/head"),
        ("settings.m=3", "unknown key 'settings.m'"),
        ("store", "is not key=value"),
        ("store=/a=b", "Quote a value"),
        ("+tier=micro", "only key=value"),
        ("~tier", "only key=value"),
        ("tier@x=micro", "only key=value"),
        ("suite=3d_awar", "Did you mean 3d_aware"),
    ],
)
def test_wrong_words_are_named(word: str, message: str) -> None:
    with pytest.raises(HarnessError, match=message) as caught:
        config.parse([word] if word.startswith("suite") else [SUITE, word])
    assert caught.value.exit_code == 2


def test_a_missing_suite_a_repeated_key_and_a_method_that_is_not_chosen() -> None:
    with pytest.raises(ConfigError, match="suite=3d_aware"):
        config.parse(["tier=smoke"])
    with pytest.raises(ConfigError, match="tier is given twice"):
        config.parse([SUITE, "tier=smoke", "tier=micro"])
    with pytest.raises(ConfigError, match=r"pigan is not among methods=\[hologan\]"):
        config.parse([SUITE, "methods=[hologan]", "pigan.batch_size=3"])


@pytest.mark.parametrize(
    "word",
    [
        "hologan._target_=os.system",
        "hologan.train_rotation=torch.nn.ReLU",
        "hologan.train_rotation=os:system",
        "hologan.train_rotation='!!python/name:os.system'",
        "hologan.train_rotation='${oc.env:HOME}'",
        "data.options.prior=os.system",
        "data.options._partial_=true",
        "device='${oc.env:HOME}'",
    ],
)
def test_words_that_name_code_are_refused(word: str) -> None:
    with pytest.raises(ConfigError, match="names code"):
        config.parse([SUITE, "methods=[hologan]", word])


def test_two_folders_of_one_name(plugin: Path) -> None:
    other = plugin.parent / "other"
    other.mkdir()
    for path in plugin.iterdir():
        (other / path.name).write_bytes(path.read_bytes())
    with pytest.raises(ConfigError, match="two methods are called 'tiny_vae'"):
        config.parse([SUITE, "tier=smoke", f"methods=[{plugin},{other}]"])


def test_methods_that_need_one_another(plugin: Path) -> None:
    (plugin / "card.yaml").write_text((plugin / "card.yaml").read_text() + f"needs: {{self: {plugin}}}\n")
    with pytest.raises(ConfigError, match="in a circle: tiny_vae -> tiny_vae"):
        one(plugin)


def test_switches_with_declared_values(plugin: Path) -> None:
    card = plugin / "card.yaml"
    card.write_text(card.read_text().replace("switches: [beta]", "switches: {beta: [0.1, 1.0]}"))
    assert len(one(plugin, "tiny_vae.beta=0.1,1.0").choices[0].variants) == 2
    assert isinstance(one(plugin, "tiny_vae.beta=1").choices[0].variants[0].config["beta"], float)
    with pytest.raises(ConfigError, match=r"value for tiny_vae.beta: 'True'"):
        one(plugin, "tiny_vae.beta=true")
    with pytest.raises(ConfigError, match=r"value for tiny_vae.beta: '0.2'"):
        one(plugin, "tiny_vae.beta=0.2")


def test_values_that_cannot_work_together(plugin: Path) -> None:
    card = plugin / "card.yaml"
    card.write_text(card.read_text() + "clashes:\n  - {beta: [0.1, 0.2], z_dim: 8, because: it is too narrow}\n")
    assert len(one(plugin, "tiny_vae.beta=0.1,0.3", "tiny_vae.z_dim=4").choices[0].variants) == 2
    assert one(plugin, "tiny_vae.beta=0.3", "tiny_vae.z_dim=8").choices[0].variants
    with pytest.raises(ConfigError, match=r"tiny_vae\.beta=0\.2 with tiny_vae\.z_dim=8 cannot work: it is too narrow"):
        one(plugin, "tiny_vae.beta=0.3,0.2", "tiny_vae.z_dim=8")
    with pytest.raises(ConfigError, match=r"geod\.bound='ball' with geod\.last_back=True cannot work"):
        config.parse(["suite=3d_aware", "methods=[geod]", "geod.base=volumegan", "geod.last_back=true"])


def test_a_suite_may_fix_the_precision_of_its_arms_and_a_run_may_change_it() -> None:
    assert config.parse(["suite=anomaly"]).precision == "fp32"
    assert config.parse(["suite=anomaly", "precision=bf16"]).precision == "bf16"


def test_a_suite_in_its_first_setting_unless_told(tmp_path: Path) -> None:
    made = config.parse(["suite=segmentation", "methods=[supervised]"])
    assert made.suite.setting == "uda"
    assert made.data.options["setting"] == "uda"
    other = config.parse(["suite=segmentation", "methods=[supervised]", "setting=ssl"])
    assert other.data.options["setting"] == "ssl"
    assert config.parse(["suite=segmentation", "setting=ssl"]).suite.methods == other.suite.methods


def test_a_setting_that_does_not_exist_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match="Did you mean ssl"):
        config.parse(["suite=segmentation", "setting=ssll"])
    with pytest.raises(ConfigError, match="setting"):
        config.parse([SUITE, "setting=uda"])


def test_a_setting_is_chosen_for_the_whole_suite() -> None:
    with pytest.raises(ConfigError, match=r"Write setting=\.\.\. instead"):
        config.parse(["suite=segmentation", "data.options.setting=ssl"])


def test_a_method_cannot_do_without_its_unlabelled_stream() -> None:
    words = ["suite=segmentation", "methods=[self_training]"]
    with pytest.raises(ConfigError, match="unlabelled_batch_size=0 must be a positive whole number"):
        config.parse([*words, "self_training.unlabelled_batch_size=0"])
