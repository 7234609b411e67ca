# SPDX-License-Identifier: BSD-2-Clause
"""What an operator is told when something is missing, wrong or full."""
import re

from vm import VM, make_volume

HUB = ["-netdev", "hubport,id=net,hubid=0"]  # a link with nobody on it


def test_a_machine_without_disk_and_dhcp_says_so():
    words = "foo=1 cach=unmapped ip=1.2.3 http_port=99999 write=maybe"
    vm = VM(append=words, net=HUB, name="bare").spawn()
    try:
        vm.wait_for(r"no volume: no disk was found")
        vm.wait_for(r"no DHCP server has answered yet")
        text = vm.serial()
        assert 'unknown word "foo"' in text
        assert re.search(r'unknown word "cach"; the nearest known is "cache" \(cache=unmapped', text)
        for word in words.split()[2:]:
            assert f'"{word}" is refused; usage: ' in text
        assert "IPv4 none yet" in vm.command("CONFIG")
        assert "No volumes." in vm.command("VOLUMES") and "No disks." in vm.command("DISKS")
        assert "no volume for the users file" in vm.command("USER ADD anna")
        assert "No volume is writable." in vm.command("SYNC")
        vm.assert_alive()
    finally:
        vm.kill()


def test_a_machine_without_a_card_says_so():
    vm = VM(net=None, name="cardless").spawn()
    try:
        vm.wait_for(r"no network card that we know")
        vm.assert_alive()
    finally:
        vm.kill()


def test_the_ready_line_is_an_address_that_answers_there():
    with VM(append="http_port=8080", name="port") as vm:
        assert "ready http://10.0.2.15:8080/ " in vm.serial()
    with VM(append="ip=off", name="six") as vm:
        assert re.search(r"ready http://\[fec0::[0-9a-f:]+\]/ ", vm.serial())


def test_what_is_typed_wrong_is_explained(tmp_path):
    (tmp_path / "root").mkdir()
    with VM(disks=[make_volume(tmp_path / "root", tmp_path / "v.img")], append="write=on", name="typed") as vm:
        said = {
            "USER": "USER ADD name", "USER ADD a:b": "UTF-8, with none of", "USER REMOVE bob": "no such user",
            "USER PASSWORD bob": "no such user", "GRANT RLX FOR / TO *": "rights of RLWCE",
            "GRANT RL FOR sub TO *": "Not changed: line 3", "GRANT RL FOR / TO carl": "there is no such user",
            "REVOKE FOR / FROM bob": "no such trustee", "LOAD": "LOAD name", "LOAD none": "there is no such program",
            "UNLOAD": "UNLOAD process", "UNLOAD x": "x: no such process", "STATS none": "begins with none",
            "TRACE x": "x is not a count", "LOAF": "nearest is LOAD", "S": "could be STATS SYNC",
        }
        for line, answer in said.items():
            assert answer in vm.command(line), line
        assert "User anna." in vm.command("USER ADD anna secret")
        assert "there already" in vm.command("USER ADD anna secret")
    with VM(disks=[str(tmp_path / "v.img")], name="read-only") as vm:
        assert "write=on was not given" in vm.command("USER ADD anna")
