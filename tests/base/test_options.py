"""What an option may be: a wrong one is refused by the parser, with what came and what was expected."""

import argparse
import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab_utils.base import options

WHOLE = [("1", 1), ("+7", 7), ("007", 7), ("12345678901234567890123", 12345678901234567890123)]
NO_WHOLE = ["", "x", "-1", "1.0", "1e3", "nan", "inf", "1_000", "٣", "1 000", "9" * 5000]
ADDRESSES = [
    *("tcp://10.0.0.1:8786", "tcp://host:8786", "host:8786", "a-b.c_d:1", "tls://host:65535", "wss://host:80"),
    *("[::1]:8786", "tcp://[fe80::1]:8786"),
]
NO_ADDRESSES = [
    *("", "nonsense", "host", "tcp://host", "host:", ":8786", "tcp://:8786", "host:0", "host:65536", "host:port"),
    *("http://host:80", "tcp:host:80", "tcp://host:80/status", "me@host:80", "two words:80", "::1:80", "[::1]x:80"),
    "host:8786\n",
]


def told(kind, text, capsys):
    """What a command with an option of this kind says of `text`, in the last line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--it", type=kind)
    with pytest.raises(SystemExit) as end:
        parser.parse_args([f"--it={text}"])
    assert end.value.code == 2
    return capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize(("text", "number"), WHOLE)
def test_whole_numbers_are_read(text, number):
    assert options.count(text) == options.count_or_zero(text) == number
    assert options.count_or_zero("0") == options.seed("0") == 0


@pytest.mark.parametrize("kind", [options.count, options.count_or_zero, options.seed])
@pytest.mark.parametrize("text", NO_WHOLE)
def test_what_is_no_such_number_is_refused_with_what_came(kind, text, capsys):
    said = told(kind, text, capsys)
    assert re.search(r"argument --it: expected a whole number (of|from) .*, not '", said)
    assert text[:70] in said


def test_a_count_is_1_or_more_and_a_seed_is_one_that_pytorch_takes(capsys):
    import torch

    assert told(options.count, "0", capsys).endswith("expected a whole number of 1 or more, not '0'")
    most = 2**64 - 1
    torch.Generator().manual_seed(options.seed(str(most)))
    with pytest.raises((RuntimeError, ValueError), match="Overflow"):
        torch.Generator().manual_seed(most + 1)
    assert told(options.seed, str(most + 1), capsys).endswith(f"from 0 to {most}, not '{most + 1}'")


@given(st.floats(min_value=5e-324, allow_infinity=False))
def test_every_finite_number_above_0_is_a_time(value):
    assert options.seconds(str(value)) == options.seconds_or_zero(str(value)) == value


@pytest.mark.parametrize("kind", [options.seconds, options.seconds_or_zero])
@pytest.mark.parametrize("text", ["nan", "inf", "-inf", "1e400", "-1", "-1e-300", "", "soon", "1 s"])
def test_a_time_that_never_ends_or_is_none_is_refused(kind, text, capsys):
    """NaN is the worst: nothing is larger, so a loop until then never ends."""
    said = told(kind, text, capsys)
    assert "argument --it: expected a number of seconds" in said
    assert said.endswith(f", not {text!r}")


@pytest.mark.parametrize("text", ["0", "0.0", "-0"])
def test_no_time_at_all_is_one_only_where_it_has_a_meaning(text, capsys):
    assert options.seconds_or_zero(text) == 0
    assert told(options.seconds, text, capsys).endswith(f"expected a number of seconds above 0, not {text!r}")
    assert not math.isnan(options.seconds_or_zero(text))


@pytest.mark.parametrize("text", ADDRESSES)
def test_an_address_stays_as_it_was_typed_and_dask_understands_it(text):
    from distributed.comm import parse_host_port
    from distributed.comm.addressing import parse_address

    assert options.address(text) == text
    host, port = parse_host_port(parse_address(text)[1])
    assert host
    assert port == int(text.rpartition(":")[2])


@pytest.mark.parametrize("text", NO_ADDRESSES)
def test_what_leads_to_no_scheduler_is_refused(text, capsys):
    """Before anything is trained; else the command would find out when the model is there, or wait for workers."""
    said = told(options.address, text, capsys)
    assert said.endswith(f"expected the address of a Dask scheduler, such as tcp://10.0.0.1:8786, not {text!r}")


def test_names_are_split_at_commas_outside_of_quotes():
    assert options.names('lon, "height, in m",lat') == ["lon", "height, in m", "lat"]
    assert options.names("") == []
