# SPDX-License-Identifier: BSD-2-Clause
"""Users and rights on a running machine: hashes made by Argon2's own program, clients that others wrote."""
import hashlib
import os
import re
import subprocess
import urllib.error
import urllib.request
import xml.etree.ElementTree as ElementTree

import pytest

from vm import PATIENCE, VM, make_volume

PASSWORDS = {"anna": "correct horse", "bert": "pässwörd:with colon", "carl": "short"}


def argon2(password, salt="saltsaltsalt", kilobytes=256, passes=1):
    return subprocess.run(["argon2", salt, "-id", "-k", str(kilobytes), "-t", str(passes), "-p", "1", "-l", "32", "-e"],
                          input=password.encode(), check=True, capture_output=True).stdout.decode().strip()


def secret(algorithm, user):
    return hashlib.new(algorithm, f"{user}:Pagewire:{PASSWORDS[user]}".encode()).hexdigest()


def users_file(extra=""):
    return (f"# users of the tests\n"
            f"user anna {argon2(PASSWORDS['anna'])}\n"
            f"user bert {argon2(PASSWORDS['bert'], kilobytes=8192, passes=3)} digest-sha256={secret('sha256', 'bert')}\n"
            f"user carl {argon2(PASSWORDS['carl'])} "
            f"digest-sha256={secret('sha256', 'carl')} digest-md5={secret('md5', 'carl')}\n"
            "trustee / * RL\ntrustee /private * -\ntrustee /private + RL\ntrustee /private/anna + -\n"
            "trustee /private/anna anna RL\ntrustee /index * R\ntrustee /list * L\n" + extra)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    top = tmp_path_factory.mktemp("site")
    for path in ["open.txt", "private/p.txt", "private/anna/a.txt", "index/index.html", "index/x", "list/index.html",
                 ".pagewire/users", ".pagewire/other", ".PAGEWIRE/mine"]:
        (top / path).parent.mkdir(parents=True, exist_ok=True)
        (top / path).write_text(f"this is {path}\n")
    (top / ".pagewire/users").write_text(users_file())
    for name, target in [("to-dir", ".pagewire"), ("to-file", ".pagewire/users"), ("to-abs", "/.pagewire/other")]:
        os.symlink(target, top / name)
    os.link(top / ".pagewire/users", top / "hard")
    return top


@pytest.fixture(scope="module")
def vm(site, tmp_path_factory):
    image = make_volume(site, tmp_path_factory.mktemp("image") / "sys.img")
    with VM(disks=[image], append="cache=unmapped", name="rights") as machine:
        yield machine


def curl(vm, path, *options):
    """(status, body) as curl sees them."""
    out = subprocess.run(["curl", "-s", "--path-as-is", "-m", str(PATIENCE), "-w", "\n%{http_code}", *options, vm.url + path],
                         capture_output=True, check=True).stdout
    body, _, status = out.rpartition(b"\n")
    return int(status), body


def login(user, *options):
    return ["-u", f"{user}:{PASSWORDS[user]}", *options]


def test_what_anybody_may_needs_no_password(vm):
    assert curl(vm, "/open.txt") == (200, b"this is open.txt\n")
    assert curl(vm, "/open.txt", "-u", "nobody:wrong")[0] == 200
    assert curl(vm, "/index/")[1] == b"this is index/index.html\n"
    assert curl(vm, "/index/x")[0] == 200
    assert b"index.html" in curl(vm, "/list/")[1]
    assert curl(vm, "/list/index.html")[0] == 401


def test_rights_are_inherited_and_cut_off(vm):
    assert curl(vm, "/private/p.txt")[0] == 401
    assert curl(vm, "/private/")[0] == 401
    assert curl(vm, "/private/nothing")[0] == 401
    assert curl(vm, "/private/p.txt", *login("anna"))[0] == 200
    assert curl(vm, "/private/p.txt", *login("bert"))[0] == 200
    assert curl(vm, "/private/anna/a.txt", *login("anna"))[0] == 200
    assert curl(vm, "/private/anna/a.txt", *login("bert"))[0] == 403
    assert curl(vm, "/private/anna/", *login("anna"))[0] == 200


@pytest.mark.parametrize("user", ["bert", "carl"])
def test_digest_for_those_who_ask_for_it(vm, user):
    status, body = curl(vm, "/private/p.txt", "--digest", "-v", *login(user))
    assert (status, body) == (200, b"this is private/p.txt\n")
    assert curl(vm, "/private/p.txt", "--digest", "-u", f"{user}:wrong")[0] == 401
    assert curl(vm, "/private/p.txt", "--anyauth", *login(user))[0] == 200


def test_an_old_client_that_knows_md5_only(vm):
    class OldDigest(urllib.request.HTTPDigestAuthHandler):
        def http_error_auth_reqed(self, auth_header, host, req, headers):
            for offer in headers.get_all(auth_header):
                if "algorithm=MD5" in offer:
                    return self.retry_http_digest_auth(req, offer)

    known = urllib.request.HTTPPasswordMgrWithDefaultRealm()
    known.add_password(None, vm.url, "carl", PASSWORDS["carl"])
    opener = urllib.request.build_opener(OldDigest(known))
    for _ in range(3):
        assert opener.open(vm.url + "/private/p.txt").read() == b"this is private/p.txt\n"


def test_a_challenge_names_what_is_offered(vm):
    with pytest.raises(urllib.error.HTTPError) as error:
        urllib.request.urlopen(vm.url + "/private/p.txt", timeout=PATIENCE)
    offers = error.value.headers.get_all("WWW-Authenticate")
    assert [re.match(r"(\w+)", o).group(1) for o in offers] == ["Digest", "Digest", "Basic"]
    assert "algorithm=SHA-256" in offers[0] and "algorithm=MD5" in offers[1]
    # One who has no secret for Digest is sent to Basic.
    assert curl(vm, "/private/p.txt", "--digest", *login("anna"))[0] == 401


def test_a_verified_password_is_remembered(vm):
    curl(vm, "/private/p.txt", *login("bert"))
    before = vm.metrics()["pagewire_auth_verified_total"]
    for _ in range(20):
        assert curl(vm, "/private/p.txt", *login("bert"))[0] == 200
    assert vm.metrics()["pagewire_auth_verified_total"] == before


SPELLINGS = ["/.pagewire/users", "//.pagewire//users", "/%2epagewire/users", "/.pagewire%2Fusers", "/x/../.pagewire/users",
             "/./.pagewire/./users", "/.%70agewire/%75sers", "/.pagewire/users/", "/.pagewire/../.pagewire/users",
             "/.pagewire/users?x", "/.pagewire;/users", "/%2E%70%61%67%65%77%69%72%65/users", "/to-dir/users", "/to-file",
             "/to-abs", "/to-dir/", "/to-dir/other", "/hard", "/.pagewire/", "/.pagewire", "/..//.pagewire/other"]


@pytest.mark.parametrize("path", SPELLINGS)
def test_the_users_file_is_never_served(vm, path):
    for extra in [], login("anna"), ["-X", "PROPFIND", "-H", "Depth: 1"]:
        status, body = curl(vm, path, *extra)
        assert status in (400, 403, 404, 405), (path, status)
        assert b"argon2" not in body and b"this is" not in body


def test_a_name_that_only_looks_like_it_is_served(vm):
    assert curl(vm, "/.PAGEWIRE/mine")[0] == 200


def test_wrong_passwords_cost_time(vm):
    codes = []
    # A slow machine may let the first delays, of a second and two, go by between two attempts.
    while codes.count(429) < 2:
        assert len(codes) < 20, codes
        before = vm.metrics()["pagewire_auth_verified_total"]
        codes.append(curl(vm, "/private/p.txt", "-u", f"anna:wrong{len(codes)}")[0])
        if codes[-1] == 429:
            assert vm.metrics()["pagewire_auth_verified_total"] == before
    assert codes[:3] == [401] * 3 and set(codes) == {401, 429}, codes
    # Who was verified before goes on.
    assert curl(vm, "/private/p.txt", *login("bert"))[0] == 200


def propfind(vm, path, depth, body="", *options):
    status, text = curl(vm, path, "-X", "PROPFIND", "-H", f"Depth: {depth}", "-d", body, *options)
    return status, ElementTree.fromstring(text) if status == 207 else None


def test_propfind_lists_what_may_be_seen(vm):
    status, tree = propfind(vm, "/", 1)
    assert status == 207
    hrefs = {e.text for e in tree.iter("{DAV:}href")}
    assert {"/", "/open.txt", "/private/", "/.PAGEWIRE/"} <= hrefs
    assert not [h for h in hrefs if "/.pagewire" in h or "to-" in h or "hard" in h]
    status, tree = propfind(vm, "/", "infinity")
    hrefs = {e.text for e in tree.iter("{DAV:}href")}
    assert "/list/index.html" in hrefs and "/index/x" not in hrefs and "/private/" in hrefs and "/private/p.txt" not in hrefs
    assert propfind(vm, "/private/", 1)[0] == 401
    assert propfind(vm, "/private/", 1, "", *login("bert"))[0] == 207
