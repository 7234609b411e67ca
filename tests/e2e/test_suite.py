# SPDX-License-Identifier: BSD-2-Clause
"""What passed of busybox's test suite when docs/linux-abi.md was written still passes."""
import suite


def test_what_the_document_lists_as_passing_passes(tmp_path):
    passing, failing = suite.recorded()
    (tmp_path / "root").mkdir()
    suite.build(str(tmp_path / "root"))
    (passed, failed), _ = suite.on_pagewire(str(tmp_path / "root"), str(tmp_path / "image"))
    new = failed - failing
    assert not new, f"these passed, by docs/linux-abi.md, and fail now: {sorted(new)}"
    for key, count in passing.items():
        assert sum(v for n, v in passed.items() if suite.group(n) == key) >= count, f"fewer tests of {key} than the document has"
