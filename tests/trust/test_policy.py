"""The operator's policy file."""

from pathlib import Path

import pytest
from PIL import Image

from onetake.runtime.errors import SettingsError
from onetake.trust.policy import CATEGORIES, Policy, read_policy


def written(tmp_path: Path, text: str) -> Path:
    """A policy file with this text."""
    path = tmp_path / "policy.toml"
    path.write_text(text)
    return path


def test_without_a_file_the_default_holds() -> None:
    """Every category has an action, and minors are blocked."""
    policy = read_policy(None)
    assert policy == Policy()
    assert {policy.categories.action(name) for name in CATEGORIES} == {"block", "flag"}
    assert policy.categories.minors == "block"


def test_a_file_changes_what_it_names(tmp_path: Path) -> None:
    """Settings that the file does not name keep their defaults."""
    text = 'brands = ["Otterline"]\n[categories]\nviolence = "flag"\n[marks]\ninvisible = true\n'
    policy = read_policy(written(tmp_path, text))
    assert policy.brands == ("Otterline",)
    assert policy.categories.violence == "flag"
    assert policy.categories.sexual == "block"
    assert policy.marks.invisible


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("categories = 3", "categories: "),
        ('[categories]\nminors = "allow"', "categories.minors: Input should be 'block'"),
        ('[categories]\nnudity = "block"', "categories.nudity: Extra inputs"),
        ('[marks]\ncertificate = "a.pem"', "marks: Value error, certificate and private_key go"),
        ('[marks]\nlogo = "nowhere.png"', "marks: Value error, a file that it names is not there"),
        ('[marks]\nlabel = "AI"\nlogo = "a.png"', "share one corner"),
        ('brands = [" "]', "brands: Value error, ' ' has neither letters nor digits"),
        ('brands = ["***"]', "brands: Value error, '***' has neither letters nor digits"),
        ('brands = ["\\u3164"]', "brands: Value error, '\u3164' has neither letters nor digits"),
        (f'brands = ["{"a" * 101}"]', "brands: Value error, a name is longer than 100 characters"),
        ('[marks]\nlogo = "policy.toml"', "marks.logo: Value error, it is no picture"),
        (
            '[marks]\nlabel = "AI 生成"',
            "marks.label: Value error, its font lacks '生', '成'; write",
        ),
        ('[marks]\nlabel = "AI\\nmade"', r"marks.label: Value error, its font lacks '\n'"),
        ('[marks]\nlabel = " "', "marks.label: Value error, it shows nothing"),
        ("brands = [", "names no readable TOML file"),
    ],
)
def test_what_is_no_policy_is_refused(
    text: str, problem: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The refusal is one line that names the setting."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SettingsError) as refusal:
        read_policy(written(tmp_path, text))
    assert str(refusal.value).startswith("invalid_settings: ONETAKE_POLICY: ")
    assert problem in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_a_cut_off_logo_is_refused(tmp_path: Path) -> None:
    """A logo that is cut off is refused when the policy is read."""
    logo = tmp_path / "logo.png"
    Image.effect_noise((64, 64), 90).save(logo)
    policy = written(tmp_path, f'[marks]\nlogo = "{logo}"')
    assert read_policy(policy).marks.logo == logo
    logo.write_bytes(logo.read_bytes()[:-900])
    with pytest.raises(SettingsError, match=r"marks\.logo: Value error, it is no picture"):
        read_policy(policy)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    """A missing file is an error, not the default policy."""
    with pytest.raises(SettingsError, match="names no readable TOML file"):
        read_policy(tmp_path / "none.toml")
