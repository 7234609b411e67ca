// SPDX-License-Identifier: BSD-2-Clause
// Files written through the cache by a test that can wait. A test needs in its SOURCES: tests/host/filebed.c, what
// crashbed.h names, and kernel/copy.c.
#pragma once

#include "fs/file.h"

// As file_write; returns the status that it ends with.
int filebed_write(struct inode *inode, uint64_t offset, const void *from, size_t len);
// The first bytes of the file, through the cache.
void filebed_read(struct inode *inode, void *out, size_t len);
// Anything but 0 ends the test, by name.
void filebed_must(int error, const char *what);
