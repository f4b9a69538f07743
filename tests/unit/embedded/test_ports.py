"""Ports are checked before anything is started."""

import socket

import pytest

from perdure.embedded.ports import LOOPBACK, choose_ports
from perdure.errors import StartupError


@pytest.fixture
def listener():
    with socket.socket() as taken:
        taken.bind((LOOPBACK, 0))
        taken.listen()
        yield taken.getsockname()[1]


def test_port_zero_is_any_free_port_and_never_the_same_twice():
    ports = choose_ports({f"--port-{number}": 0 for number in range(50)})

    assert len(set(ports.values())) == 50


def test_free_port_is_below_those_that_systems_hand_out_by_themselves():
    assert max(choose_ports({f"--port-{number}": 0 for number in range(50)}).values()) < 32_000


def test_free_port_is_given_as_wanted():
    free = choose_ports({"--port": 0})["--port"]

    assert choose_ports({"--port": free}) == {"--port": free}


def test_port_in_use_is_refused_by_number_and_option(listener):
    with pytest.raises(StartupError) as refused:
        choose_ports({"--temporal-port": 0, "--port": listener})

    assert refused.value.code == "port_in_use"
    assert f"port {listener} (--port)" in refused.value.message
    assert "\n" not in refused.value.message


def test_two_options_cannot_have_the_same_port():
    free = choose_ports({"--port": 0})["--port"]

    with pytest.raises(StartupError):
        choose_ports({"--port": free, "--ui-port": free})


def test_port_of_a_connection_that_was_just_closed_is_free():
    with socket.create_server((LOOPBACK, 0)) as server:
        port = server.getsockname()[1]
        client = socket.create_connection((LOOPBACK, port))
        accepted, _ = server.accept()
        accepted.close()  # the server's side closes first and so lingers
        client.recv(1)
        client.close()

    assert choose_ports({"--port": port}) == {"--port": port}
