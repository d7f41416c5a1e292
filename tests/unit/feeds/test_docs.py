"""What docs/schemas.md says is so."""

import json
import re

from jsonschema import Draft202012Validator

from millrace.feeds.envelope import decode, load_schema
from millrace.feeds.posts.tags import text_tags
from millrace.settings import PROJECT_ROOT

TEXT = (PROJECT_ROOT / "docs" / "schemas.md").read_text(encoding="utf-8")
TOPICS = [section for section in TEXT.split("\n## ") if section.startswith("Topic ")]
EXAMPLES = [json.loads(block) for block in re.findall(r"```json\n(.*?)```", "".join(TOPICS), re.DOTALL)]


def test_the_examples_follow_the_schemas() -> None:
    poll, end, post, end_of_posts, letter = EXAMPLES
    for envelope in (poll, end):
        decode(json.dumps(envelope).encode())
    for message in (post, end_of_posts):
        Draft202012Validator(load_schema("posts")).validate(message)
    assert post["tags"] == list(text_tags(post["text"]))
    Draft202012Validator(load_schema("dead_letters")).validate(letter)


def test_every_field_of_the_schemas_is_described() -> None:
    polls, letters = load_schema("station_polls")["$defs"], load_schema("dead_letters")
    posts = load_schema("posts")["$defs"]["post"]["properties"]
    fields = {*polls["poll"]["properties"], *polls["station"]["properties"], *posts, *letters["properties"]}
    assert {field for field in fields if f"`{field}`" not in TEXT and f'"{field}"' not in TEXT} == set()


def test_every_reason_in_the_code_is_described() -> None:
    code = "".join(path.read_text() for path in (PROJECT_ROOT / "millrace" / "feeds").rglob("*.py"))
    used = set(re.findall(r'(?:Unreadable|Rejection)\(\s*"([a-z_]+)"|__init__\("([a-z_]+)"', code))
    reasons = {first or second for first, second in used} - {"not_an_envelope"}
    table = TEXT.split("| reason |")[1].split("\n\n")[0]
    assert reasons == set(re.findall(r"^\| `([a-z_]+)` \|", table, re.MULTILINE))
