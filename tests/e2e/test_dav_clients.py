# SPDX-License-Identifier: BSD-2-Clause
"""What the WebDAV clients of Windows, macOS and GNOME send, request by request as their makers and users document it
([MS-WDV] and the MiniRedir's logs; Apple's WebDAVFS sources; gvfs's daemon sources), and what each needs back to go on.
The clients themselves do not run here."""
import base64
import http.client
import re
import urllib.parse
import xml.etree.ElementTree as ElementTree

import pytest

from test_dav import PASSWORD, USER, volume, writable
from vm import PATIENCE

D = "{DAV:}"
MS = "{urn:schemas-microsoft-com:}"


@pytest.fixture(scope="module")
def vm(tmp_path_factory):
    with writable(volume(tmp_path_factory, False)) as machine:
        yield machine


class Client:
    """One connection that is kept; answers challenges as a client does, once, and then unasked."""

    def __init__(self, vm, agent):
        self.vm, self.agent, self.auth = vm, agent, None
        self.connection = http.client.HTTPConnection(*vm.peer, timeout=PATIENCE)
        self.challenged = 0

    def once(self, method, path, body, headers, chunked):
        fields = {"User-Agent": self.agent, "Host": f"127.0.0.1:{self.vm.port}", **headers}
        if self.auth:
            fields["Authorization"] = self.auth
        if chunked:
            self.connection.request(method, path, iter([body[:5], body[5:]]), {**fields, "Transfer-Encoding": "chunked"},
                                    encode_chunked=True)
        else:
            if body is None and method in ("PUT", "LOCK", "PROPFIND"):
                fields["Content-Length"] = "0"
            self.connection.request(method, path, body, fields)
        answer = self.connection.getresponse()
        return answer, answer.read()

    def __call__(self, method, path, body=None, want=200, chunked=False, **headers):
        headers = {k.replace("_", "-"): v for k, v in headers.items()}
        body = body.encode() if isinstance(body, str) else body
        answer, text = self.once(method, path, body, headers, chunked)
        if answer.status == 401 and not self.auth:
            assert "Basic" in answer.headers["WWW-Authenticate"]
            self.challenged += 1
            self.auth = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
            answer, text = self.once(method, path, body, headers, chunked)
        assert answer.status == want, (method, path, answer.status, text)
        self.headers, self.text = answer.headers, text
        return text

    def propfind(self, path, depth, body=None, want=207, **headers):
        """{href: {property: element}} of what was found."""
        text = self("PROPFIND", path, body, want, Depth=str(depth), **headers)
        if want != 207:
            return None
        found = {}
        for response in ElementTree.fromstring(text).iter(D + "response"):
            props = found[urllib.parse.unquote(response.find(D + "href").text)] = {}
            for propstat in response.iter(D + "propstat"):
                if " 200 " in propstat.find(D + "status").text:
                    props.update({e.tag: e for e in propstat.find(D + "prop")})
        return found

    def lock(self, path, owner, want=200, **headers):
        self("LOCK", path, '<?xml version="1.0" encoding="utf-8" ?><D:lockinfo xmlns:D="DAV:"><D:lockscope><D:exclusive/>'
             f"</D:lockscope><D:locktype><D:write/></D:locktype><D:owner>{owner}</D:owner></D:lockinfo>", want,
             Content_Type="text/xml; charset=\"utf-8\"", **headers)
        if want >= 400:
            return None
        token = self.headers["Lock-Token"]
        active = ElementTree.fromstring(self.text).find(f"{D}lockdiscovery/{D}activelock")
        assert f"<{active.find(f'{D}locktoken/{D}href').text}>" == token
        assert re.fullmatch(r"Second-\d+", active.find(D + "timeout").text)
        return token


def test_windows_explorer(vm):
    c = Client(vm, "Microsoft-WebDAV-MiniRedir/10.0.19045")
    c("OPTIONS", "/", translate="f")
    assert "2" in c.headers["DAV"] and c.headers["MS-Author-Via"] == "DAV" and "PROPFIND" in c.headers["Allow"]
    root = c.propfind("/", 0, translate="f")
    assert root["/"][D + "resourcetype"].find(D + "collection") is not None
    assert {D + "creationdate", D + "getlastmodified", D + "displayname"} <= set(root["/"])
    c.propfind("/", 1, translate="f")
    for absent in "/desktop.ini", "/AutoRun.inf", "/Thumbs.db":
        c.propfind(absent, 0, want=404, translate="f")
    # A new folder, renamed: the shell asks for the name first, and gives an address with host and escapes.
    c.propfind("/New%20folder", 0, want=404, translate="f")
    c("MKCOL", "/New%20folder", want=201, translate="f")
    c("MOVE", "/New%20folder", want=201, translate="f", Overwrite="F",
      Destination=f"http://127.0.0.1:{vm.port}/My%20%C3%B6rdner%20(1)")
    home = "/My%20%C3%B6rdner%20(1)"
    assert c.propfind(home, 1, translate="f")["/My ördner (1)/"][D + "displayname"].text == "My ördner (1)"
    # A file copied in: an empty one, a lock, its times, its bytes, its times again.
    path = home + "/Report%20%23%26+%5B1%5D.docx"
    c.propfind(path, 0, want=404, translate="f")
    c("PUT", path, want=201, translate="f")
    token = c.lock(path, "<D:href>PC\\user</D:href>", Timeout="Second-3600", translate="f")
    times = ('<?xml version="1.0" encoding="utf-8" ?><D:propertyupdate xmlns:D="DAV:" xmlns:Z="urn:schemas-microsoft-com:">'
             "<D:set><D:prop><Z:Win32CreationTime>Sun, 22 Nov 2026 10:00:00 GMT</Z:Win32CreationTime>"
             "<Z:Win32LastAccessTime>Sun, 22 Nov 2026 10:00:01 GMT</Z:Win32LastAccessTime>"
             "<Z:Win32LastModifiedTime>Sun, 22 Nov 2026 10:00:02 GMT</Z:Win32LastModifiedTime>"
             "<Z:Win32FileAttributes>00000020</Z:Win32FileAttributes></D:prop></D:set></D:propertyupdate>")
    c("PROPPATCH", path, times, want=207, If=f"({token})", translate="f")
    assert b"200 OK" in c.text
    c("HEAD", path, translate="f")
    c("PUT", path, b"x" * 70000, want=204, If=f"({token})", translate="f")
    c("PROPPATCH", path, times, want=207, If=f"({token})", translate="f")
    c("LOCK", path, want=200, If=f"({token})", Timeout="Second-3600", translate="f")  # a refresh
    Client(vm, "other")("PUT", path, b"other", want=423)
    c("UNLOCK", path, want=204, Lock_Token=token, translate="f")
    props = c.propfind(path, 0, translate="f")["/My ördner (1)/Report #&+[1].docx"]
    assert props[D + "getcontentlength"].text == "70000" and props[MS + "Win32FileAttributes"].text == "00000020"
    assert len(c("GET", path, translate="f")) == 70000
    c("MOVE", path, want=412, translate="f", Overwrite="F", Destination=f"http://127.0.0.1:{vm.port}/hello.txt")
    c("DELETE", home, want=204, translate="f")
    assert c.challenged == 1


FINDER = ('<?xml version="1.0" encoding="utf-8"?>\n<D:propfind xmlns:D="DAV:">\n<D:prop>\n{}</D:prop>\n</D:propfind>\n')
STAT = FINDER.format("<D:getlastmodified/>\n<D:getcontentlength/>\n<D:creationdate/>\n<D:resourcetype/>\n")
QUOTA = FINDER.format("<D:quota-available-bytes/>\n<D:quota-used-bytes/>\n<D:quota/>\n<D:quotaused/>\n")


def test_macos_finder(vm):
    c = Client(vm, "WebDAVFS/3.0.0 (03008000) Darwin/23.0.0 (arm64)")
    c("OPTIONS", "/")
    assert re.search(r"\b2\b", c.headers["DAV"])  # or the volume is mounted read-only
    assert D + "collection" in [e.tag for e in c.propfind("/", 0, STAT)["/"][D + "resourcetype"]]
    quota = c.propfind("/", 0, QUOTA)["/"]
    assert int(quota[D + "quota-available-bytes"].text) > 0 and D + "quota" not in quota
    for absent in "/.DS_Store", "/._.", "/.metadata_never_index", "/.Spotlight-V100", "/Contents", "/.ql_disablethumbnails":
        c.propfind(absent, 0, STAT, want=404)
    listing = c.propfind("/", 1, STAT)
    assert "/hello.txt" in listing and D + "getcontentlength" in listing["/hello.txt"]
    # A file is made empty, locked, filled in chunks whose sum is told beforehand, and unlocked; its double, too.
    for name in "/U%CC%88ber.mov", "/._U%CC%88ber.mov":  # decomposed, as macOS writes names
        c.propfind(name, 0, STAT, want=404)
        c("PUT", name, want=201)
        token = c.lock(name, "<D:href>http://www.apple.com/webdav_fs/</D:href>", Depth="0", Timeout="Second-600")
        body = bytes(range(256)) * 300
        c("PUT", name, body, want=204, chunked=True, If=f"({token})", X_Expected_Entity_Length=str(len(body)))
        found = c.propfind(name, 0, STAT)
        assert next(iter(found.values()))[D + "getcontentlength"].text == str(len(body))
        c("LOCK", name, want=200, If=f"({token})", Timeout="Second-600")
        c("UNLOCK", name, want=204, Lock_Token=token)
        assert c("GET", name) == body
    c("MKCOL", "/untitled%20folder/", want=201)
    for name in "U%CC%88ber.mov", "._U%CC%88ber.mov":
        c("MOVE", "/" + name, want=201, Destination=f"http://127.0.0.1:{vm.port}/untitled%20folder/{name}", Overwrite="T")
    assert len(c.propfind("/untitled%20folder/", 1, STAT)) == 3
    c("DELETE", "/untitled%20folder/", want=204)


GVFS = ('<?xml version="1.0" encoding="utf-8" ?>\n<D:propfind xmlns:D="DAV:">\n<D:prop>\n<D:creationdate/>\n<D:displayname/>\n'
        "<D:getcontentlength/>\n<D:getcontenttype/>\n<D:getetag/>\n<D:getlastmodified/>\n<D:resourcetype/>\n</D:prop>\n"
        "</D:propfind>")
FREE = ('<?xml version="1.0" encoding="utf-8" ?><D:propfind xmlns:D="DAV:"><D:prop><D:quota-available-bytes/>'
        "<D:quota-used-bytes/></D:prop></D:propfind>")


def test_gnome_files(vm):
    c = Client(vm, "gvfs/1.50.3")
    c("OPTIONS", "/")
    assert "PROPFIND" in c.headers["Allow"] and c.headers["DAV"]
    assert c.propfind("/", 0, GVFS)["/"][D + "resourcetype"].find(D + "collection") is not None
    c.propfind("/", 0, FREE)
    found = c.propfind("/", 1, GVFS)["/hello.txt"]
    assert found[D + "getcontenttype"].text == "text/plain; charset=utf-8"
    # Saving: only if nobody made it meanwhile; later, only if nobody changed it meanwhile.
    c("PUT", "/note.txt", b"one\n", want=201, If_None_Match="*")
    c("PUT", "/note.txt", b"two\n", want=412, If_None_Match="*")
    etag = c.propfind("/note.txt", 0, GVFS)["/note.txt"][D + "getetag"].text
    c("PUT", "/note.txt", b"three\n", want=204, If_Match=etag)
    c("PUT", "/note.txt", b"four\n", want=412, If_Match=etag)
    c("GET", "/note.txt", want=206, Range="bytes=2-")
    c("MKCOL", "/Untitled%20Folder", want=201)
    c("MKCOL", "/Untitled%20Folder", want=405)
    c("MOVE", "/note.txt", want=201, Destination=f"http://127.0.0.1:{vm.port}/Untitled%20Folder/note.txt", Overwrite="F")
    c("COPY", "/Untitled%20Folder/", want=201, Depth="infinity", Overwrite="F",
      Destination=f"http://127.0.0.1:{vm.port}/Copy/")
    assert c("GET", "/Copy/note.txt") == b"three\n"
    c("COPY", "/Untitled%20Folder/", want=412, Overwrite="F", Destination=f"http://127.0.0.1:{vm.port}/Copy/")
    for path in "/Copy/", "/Untitled%20Folder/":
        c("DELETE", path, want=204)
    c.propfind("/Copy/", 0, GVFS, want=404)


def failed(text):
    """{name of the precondition: [addresses in it]} of an error body (RFC 4918 section 16)."""
    root = ElementTree.fromstring(text)
    assert root.tag == D + "error", text
    return {e.tag: [urllib.parse.unquote(h.text) for h in e.findall(D + "href")] for e in root}


def test_a_refusal_names_its_precondition(vm):
    holder, other = Client(vm, "holder"), Client(vm, "other")
    for name in "/shut", "/shut/t\u00fcr", "/open":
        holder("MKCOL", urllib.parse.quote(name), want=201)
    holder("PUT", "/shut/t%C3%BCr/a%26b", b"1", want=201)
    holder("PUT", "/open/c", b"2", want=201)
    path, inside = "/shut/t%C3%BCr/a%26b", {D + "lock-token-submitted": ["/shut/t\u00fcr/a&b"]}
    token = holder.lock(path, "me", Depth="0")
    update = '<D:propertyupdate xmlns:D="DAV:"><D:set><D:prop><x/></D:prop></D:set></D:propertyupdate>'
    patch = {"Content_Type": "application/x-sabredav-partialupdate", "X_Update_Range": "append"}
    for method, where, body, fields in [
            ("PUT", path, b"x", {}), ("PUT", path, b"x" * 300000, {}), ("PATCH", path, b"x", patch), ("DELETE", path, None, {}),
            ("DELETE", "/shut", None, {}), ("MOVE", path, None, {"Destination": "/open/d"}), ("PROPPATCH", path, update, {}),
            ("MOVE", "/shut", None, {"Destination": "/open/e"}), ("COPY", "/open/c", None, {"Destination": path})]:
        assert failed(other(method, where, body, want=423, **fields)) == inside, (method, where)
        assert other.headers["Content-Type"].startswith("application/xml")
        other.connection.close()  # where a body was not taken the server closes; the next request opens a new one
    other.lock(path, "you", want=423)
    assert failed(other.text) == {D + "no-conflicting-lock": ["/shut/t\u00fcr/a&b"]}
    deep = holder.lock("/open", "me", Depth="infinity")
    for method, where in ("PUT", "/open/new"), ("MKCOL", "/open/new"), ("DELETE", "/open/c"):
        assert failed(other(method, where, want=423)) == {D + "lock-token-submitted": ["/open"]}
    mismatch = {D + "lock-token-matches-request-uri": []}
    assert failed(holder("UNLOCK", "/shut", want=409, Lock_Token=deep)) == mismatch
    assert failed(holder("LOCK", "/shut", want=412, If="(Not <DAV:no-lock>)")) == mismatch
    holder("UNLOCK", path, want=204, Lock_Token=token)
    holder("UNLOCK", "/open", want=204, Lock_Token=deep)
    for name in "/shut", "/open":
        other("DELETE", name, want=204)


def test_properties_beyond_what_the_volume_holds(vm):
    """An attribute has room in one block, here of 1 KB: beyond that it is 507 for each property of the request, and nothing
    of it is kept."""
    c = Client(vm, "properties")

    def patch(inside):
        text = c("PROPPATCH", "/props", f'<D:propertyupdate xmlns:D="DAV:" xmlns="u">{inside}</D:propertyupdate>', want=207)
        return {e.tag: propstat.find(D + "status").text.split()[1] for propstat in ElementTree.fromstring(text).iter(D + "propstat")
                for e in propstat.find(D + "prop")}

    def there():
        return {tag: e.text for tag, e in c.propfind("/props", 0)["/props"].items() if tag.startswith("{u}")}

    c("PUT", "/props", b"x", want=201)
    large, other = "l" * 700, "o" * 700
    assert patch(f"<D:set><D:prop><large>{large}</large></D:prop></D:set>") == {"{u}large": "200"}
    both = f"<D:set><D:prop><small>s</small></D:prop></D:set><D:set><D:prop><other>{other}</other></D:prop></D:set>"
    assert patch(both) == {"{u}small": "507", "{u}other": "507"}
    assert there() == {"{u}large": large}
    assert patch("<D:set><D:prop><small>s</small></D:prop></D:set>") == {"{u}small": "200"}
    # What makes room in the same request counts.
    assert patch("<D:remove><D:prop><large/></D:prop></D:remove>" + both) == {"{u}large": "200", "{u}small": "200", "{u}other": "200"}
    assert there() == {"{u}small": "s", "{u}other": other}
    c("COPY", "/props", want=201, Destination="/props2")
    assert c.propfind("/props2", 0)["/props2"]["{u}other"].text == other
    for name in "/props", "/props2":
        c("DELETE", name, want=204)
