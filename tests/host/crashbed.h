// SPDX-License-Identifier: BSD-2-Clause
// A real ext4 volume (mke2fs) on the disk that loses power (crashdisk.h), with the kernel's own cache, volume and
// journal code above it, and e2fsprogs as the judge. A test needs in its SOURCES:
//	tests/host/crashdisk.c tests/host/crashbed.c fs/[!u]*.c
//	kernel/block.c kernel/rwlock.c kernel/crc32.c kernel/string.c
//
//	crashbed_make("-b 1024 -J size=1", "8m");      // an image, made once a run for each set of words
//	struct volume *v = crashbed_mount(true);       // shim_init, caches, mounted, writable
//	... work ...
//	crashbed_unmount();                            // as DOWN does, then everything counted and given back
//	assert_int_equal(crashbed_fsck(), 0);          // e2fsck -fn on what the disk holds now
#pragma once

#include "crashdisk.h"
#include "fs/volume.h"

// Loads the disk with a fresh file system. `tree`: a directory whose files it holds; null: none.
void crashbed_make(const char *mke2fs_words, const char *size, const char *tree);
struct volume *crashbed_mount(bool write); // null: refused; look at volume_writable
// Unmounts cleanly.
void crashbed_unmount(void);
// The power goes: nothing more reaches the disk, what is in memory is forgotten.
void crashbed_power_off(void);
// Runs e2fsck -fn on the disk's present contents; its exit status. What it said: crashbed_said().
int crashbed_fsck(void);
// Lets e2fsck replay the journal (and repair: -fy) on a copy and gives back the result in the disk's place, so
// that it can be compared. Returns e2fsck's exit status: 0 and 1 are good.
int crashbed_replay_by_e2fsck(void);
const char *crashbed_said(void);
// Runs a debugfs command on the disk's present contents; the output.
const char *crashbed_debugfs(const char *command);
