"""What the hub logs holds no secret of an address."""

import logging

import pytest
from davide_hub.discreet import Discreet, without_secrets


@pytest.mark.parametrize(
    ("line", "left"),
    [
        ("302 GET /hub/x?token=0abc (@::1) 1.2ms", "302 GET /hub/x?token=[secret] (@::1) 1.2ms"),
        (
            "GET /hub/login?next=%2Fuser%2Fx%3Ftoken%3D0abc%26a%3Db&c=d",
            "next=%2Fuser%2Fx%3Ftoken%3D[secret]%26a%3Db&c=d",
        ),
        ("GET /hub/error/503?url=%2Fuser%2Fx%2F%3Fa%3Db%26token%3D0abc (", "%3Fa%3Db%26token%3D[secret] ("),
        ("-> /hub/login?next=%252Fx%253Ftoken%253D0abc%2526y%253Dz)", "%253Ftoken%253D[secret]%2526y%253Dz)"),
        ("GET /hub/oauth_callback?code=0abc&state=0abc", "?code=[secret]&state=[secret]"),
        ('{"url": "/x?access_token=0abc"}', '"/x?access_token=[secret]"}'),
    ],
)
def test_no_parameter_that_holds_a_secret_is_left(line, left):
    assert without_secrets(line).endswith(left)
    assert "0abc" not in without_secrets(line)


@pytest.mark.parametrize(
    "line", ["GET /hub/login?next=%2Fhub%2Fhome", "/api/tokens made, state=running, code=503", "%s"]
)
def test_other_lines_stay_as_they_are(line):
    assert without_secrets(line) == line


def test_a_record_is_changed_with_its_arguments(caplog):
    logger = logging.getLogger("test of discreet")
    caplog.handler.addFilter(made := Discreet())
    try:
        logger.warning("GET %s", "/x?token=0abc")
        logger.warning("50%")
    finally:
        caplog.handler.removeFilter(made)
    assert caplog.messages == ["GET /x?token=[secret]", "50%"]
