# SPDX-License-Identifier: BSD-2-Clause
"""What passed of the Open POSIX Test Suite when docs/linux-abi.md was written still passes."""
from collections import Counter

import posixsuite


def test_what_the_document_lists_as_passing_passes(tmp_path):
    failing, counts = posixsuite.recorded()
    (tmp_path / "root").mkdir()
    names = posixsuite.build(str(tmp_path / "root"), but=failing)
    assert Counter(posixsuite.split(name)[0] for name in names) == Counter(counts), "the document is of another suite"
    found, said = posixsuite.run_on_pagewire(str(tmp_path / "root"), str(tmp_path / "image"))
    new = sorted(set(names) - posixsuite.passing(found))
    words = "\n".join(f"{name}: {found.get(name)}: {said.get(name, '')[-500:]}" for name in new[:10])
    assert not new, f"these passed, by docs/linux-abi.md, and fail now: {new}\n{words}"
