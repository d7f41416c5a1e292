"""Settings of an S3 that is not the embedded one, and what does not go together."""

from __future__ import annotations

from pathlib import Path

import pytest

from millrace import settings
from millrace.object_bodies import _connect
from millrace.settings import SettingsError
from millrace.store import S3Store

KEYS = {
    "AWS_ACCESS_KEY_ID": "ASIAEXAMPLE",
    "AWS_SECRET_ACCESS_KEY": "hidden-key",
    "AWS_SESSION_TOKEN": "hidden-token",
}


def load(tmp_path: Path, **names: str) -> settings.Settings:
    return settings.load({"MILLRACE_HOME": str(tmp_path), **names})


LOGIN = {
    "MILLRACE_KAFKA_SECURITY": "SASL_PLAINTEXT",
    "MILLRACE_KAFKA_SASL_MECHANISM": "PLAIN",
    "MILLRACE_KAFKA_USERNAME": "reader",
    "MILLRACE_KAFKA_PASSWORD": "hidden-password",
}


def test_nothing_secret_is_shown(tmp_path: Path) -> None:
    found = load(tmp_path, **KEYS, **LOGIN)
    assert "hidden" not in repr(found)
    assert set(found.secrets) == {*KEYS.values(), "hidden-password"}, (
        "these are blotted out of what drivers print"
    )


def test_amazons_own_is_named_by_a_word(tmp_path: Path) -> None:
    found = load(tmp_path, **KEYS, MILLRACE_S3_ENDPOINT="aws", MILLRACE_S3_REGION="eu-central-1")
    assert found.s3_endpoint is None
    client = S3Store(found)._client()
    assert client.meta.endpoint_url == "https://s3.eu-central-1.amazonaws.com"


@pytest.mark.parametrize(
    ("how", "url"),
    [
        ("path", "https://s3.example.org/hours/a/key"),
        ("virtual", "https://hours.s3.example.org/a/key"),
    ],
)
def test_a_bucket_is_in_the_path_or_in_the_name(tmp_path: Path, how: str, url: str) -> None:
    found = load(
        tmp_path,
        **KEYS,
        MILLRACE_S3_ENDPOINT="https://s3.example.org",
        MILLRACE_S3_ADDRESSING=how,
        MILLRACE_BUCKET="hours",
    )
    made = (
        S3Store(found)
        ._client()
        .generate_presigned_url("get_object", Params={"Bucket": "hours", "Key": "a/key"})
    )
    assert made.partition("?")[0] == url
    reader = _connect(found)
    inside = "/hours" if reader.config["virtual_hosted_style_request"] in (False, "false") else ""
    assert f"{reader.config['endpoint']}{inside}/a/key" == url, "the two clients agree"


@pytest.mark.parametrize(
    ("names", "words"),
    [
        ({"MILLRACE_S3_ADDRESSING": "host"}, "MILLRACE_S3_ADDRESSING='host': it must be 'path' or 'virtual'"),
        (
            {"MILLRACE_S3_ADDRESSING": "virtual", "MILLRACE_S3_ENDPOINT": "https://10.0.0.1:9000"},
            "name the server, or use 'path'",
        ),
        (
            {"MILLRACE_S3_CA": "/a.pem", "MILLRACE_S3_ENDPOINT": "http://s3:9000"},
            "it must begin with https://",
        ),
        ({"MILLRACE_S3_CA": "/a.pem", "MILLRACE_S3_ENDPOINT": "https://s3:9000"}, "MILLRACE_S3_CA=/a.pem"),
    ],
)
def test_what_does_not_go_together_is_refused_by_name(
    tmp_path: Path, names: dict[str, str], words: str
) -> None:
    with pytest.raises(SettingsError) as refused:
        load(tmp_path, **names)
    assert words in str(refused.value)
