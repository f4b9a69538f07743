import pytest

from perdure.connections.client_credentials import ClientCredentials, client_of
from perdure.connections.credentials import parse_credentials

CLIENT = ClientCredentials(client_id="ours", client_secret="our-secret", scopes=("read",))


@pytest.mark.parametrize(
    "scopes", ["read,write", "read write", " read , write ", ["read", "write"], ("read", "write")]
)
def test_scopes_are_read_as_people_write_them(scopes: object) -> None:
    assert ClientCredentials.of({"scopes": scopes}).scopes == ("read", "write")


def test_integration_without_credentials_has_an_empty_client() -> None:
    assert ClientCredentials.of(None) == ClientCredentials()
    assert ClientCredentials.of({"client_id": None, "scopes": None}) == ClientCredentials()


def test_numbers_become_text() -> None:
    assert ClientCredentials.of({"app_id": 12}).app_id == "12"


def test_secrets_stay_out_of_repr() -> None:
    client = ClientCredentials(client_id="c", client_secret="hunter2", private_key="hunter3")
    assert "hunter" not in repr(client)
    assert client.secrets == ("hunter2", "hunter3")


def test_connection_uses_the_integrations_client() -> None:
    for value in ({"type": "OAUTH2", "access_token": "a"}, {"type": "API_KEY", "apiKey": "k"}):
        assert client_of(parse_credentials(value), CLIENT) == CLIENT


def test_connection_may_bring_its_own_client_along() -> None:
    override = {"client_id": "theirs", "client_secret": "their-secret"}
    for value in (
        {"type": "OAUTH2", "access_token": "a", "config_override": override},
        {"type": "TBA", "token_id": "i", "token_secret": "s", "config_override": override},
        {"type": "OAUTH2_CC", **override},
    ):
        client = client_of(parse_credentials(value), CLIENT)
        assert (client.client_id, client.client_secret) == ("theirs", "their-secret")
        assert client.scopes == ("read",)


def test_half_an_override_leaves_the_other_half() -> None:
    value = {"type": "OAUTH2", "access_token": "a", "config_override": {"client_id": "theirs"}}
    client = client_of(parse_credentials(value), CLIENT)
    assert (client.client_id, client.client_secret) == ("theirs", "our-secret")
