"""The environment: read once, checked, named when wrong."""

import pytest

from onetake.runtime.errors import SettingsError
from onetake.runtime.profiles import PROFILES
from onetake.runtime.settings import Settings

BUCKET = {
    "BUCKET_ENDPOINT_URL": "https://s3.example.com",
    "BUCKET_ACCESS_KEY_ID": "key",
    "BUCKET_SECRET_ACCESS_KEY": "topsecret",
    "BUCKET_NAME": "clips",
}


def test_development_needs_nothing() -> None:
    """Without any variable results go to a local folder."""
    settings = Settings.read()
    assert not settings.production
    assert not settings.has_bucket


def test_production_without_a_bucket_says_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that takes jobs and has nowhere to put results does not start."""
    monkeypatch.setenv("RUNPOD_WEBHOOK_GET_JOB", "https://example.com/job-take/?gpu=x")
    with pytest.raises(SettingsError) as raised:
        Settings.read()
    assert all(name in str(raised.value) for name in BUCKET)


@pytest.mark.parametrize("missing", BUCKET)
def test_half_a_bucket_is_refused(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A forgotten variable is named, also in development, and no secret is."""
    for name, value in BUCKET.items():
        monkeypatch.setenv(name, "" if name == missing else value)
    with pytest.raises(SettingsError, match=f"^invalid_settings: {missing}: not set") as raised:
        Settings.read()
    assert "topsecret" not in str(raised.value)


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("ONETAKE_MAX_DURATION", "long"),
        ("ONETAKE_MAX_DURATION", "0"),
        ("ONETAKE_MAX_DURATION", "inf"),
        ("ONETAKE_LINK_EXPIRY", "604801"),
        ("ONETAKE_PRICE_PER_SECOND", "-1"),
    ],
)
def test_a_senseless_value_is_named(
    variable: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The variable is named, not the field."""
    monkeypatch.setenv(variable, value)
    with pytest.raises(SettingsError, match=f"^invalid_settings: {variable}: "):
        Settings.read()


def test_an_unknown_profile_is_told_the_known_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    """The names come from the table of profiles, so that a new one is known at once."""
    monkeypatch.setenv("ONETAKE_PROFILE", "fast")
    line = "invalid_settings: ONETAKE_PROFILE: Input should be "
    with pytest.raises(SettingsError) as raised:
        Settings.read()
    assert str(raised.value) == f"{line}'exact', 'balanced', 'turbo' or 'lean'"
    monkeypatch.setitem(PROFILES, "fast", PROFILES["exact"])
    assert Settings.read().profile == "fast"


@pytest.mark.parametrize("endpoint", ["s3.example.com", "https://", "ftp://a.b", "https://a b"])
def test_an_endpoint_is_a_web_address(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bare host is the commonest slip."""
    for name, value in {**BUCKET, "BUCKET_ENDPOINT_URL": endpoint}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match="https://"):
        Settings.read()


def test_secrets_do_not_print(monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings in a log show no key."""
    for name, value in BUCKET.items():
        monkeypatch.setenv(name, value)
    assert "topsecret" not in repr(Settings.read())
