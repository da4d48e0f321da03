import socket

from decisions.stack import ports


def test_a_free_preferred_port_is_taken() -> None:
    [free] = ports.choose({"any": 0}).values()

    assert ports.choose({"web": free}) == {"web": free}


def test_another_port_replaces_one_in_use() -> None:
    with socket.create_server((ports.LOOPBACK, 0)) as busy:
        wanted = busy.getsockname()[1]

        chosen = ports.choose({"web": wanted})["web"]

        assert not ports.is_free(wanted)
        assert chosen != wanted
        assert ports.is_free(chosen)


def test_two_services_never_share_a_port() -> None:
    [free] = ports.choose({"any": 0}).values()

    chosen = ports.choose({"one": free, "two": free})

    assert len(set(chosen.values())) == 2
