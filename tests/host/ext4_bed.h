// SPDX-License-Identifier: BSD-2-Clause
// A real ext4 volume (mke2fs) in a sparse file, for tests of what writes it: the kernel's own cache, volume and
// transactions above it, e2fsck and debugfs as judges. Volumes may be large, for only what is touched takes
// memory. A test needs in its SOURCES:
//	tests/host/ext4_bed.c fs/[!u]*.c kernel/block.c kernel/rwlock.c kernel/crc32.c kernel/string.c
//
//	struct ext4 *fs = bed_start("-b 1024", "16m");
//	... transactions ...
//	bed_settle();     // as after a commit: what was freed may be given out again
//	bed_finish();     // all home, e2fsck must find nothing, everything counted and given back
#pragma once

#include "fs/ext4_alloc.h"

extern struct volume *bed_volume;

// start: make and mount.
struct ext4 *bed_start(const char *mke2fs_words, const char *size);
void bed_make(const char *mke2fs_words, const char *size);
void bed_finish(void); // fails the test with what e2fsck said
// Unmounts, keeping the image; fsck: e2fsck -fn must be clean. Then mounts it again.
void bed_unmount(bool fsck);
struct ext4 *bed_mount(void);
bool bed_try_mount(
    void); // false: refused (bed_volume is null) or read-only; unmount it all the same
void bed_settle(void);
// While it is not mounted: changes the image; keeps a copy of it, and goes back to that. remove: for good.
void bed_change(void (*change)(uint8_t *bytes, uint64_t size));
void bed_keep(void);
void bed_again(void);
void bed_remove(void);
// What a power cut now would leave on the disk, which is put in its place by restore: everything in between is
// forgotten, and the volume is not mounted.
void bed_snapshot(void);
void bed_restore(void);
// Metadata leaves the cache as far as it can, so that reads happen.
void bed_forget_cache(void);
// Output of a debugfs command on the image, which it may change; while it is not mounted.
const char *bed_debugfs(const char *format, ...) PRINTF_LIKE(1, 2);
// Runs a command on the image, after bed_unmount: "%s" in it stands for the image's path.
void bed_command(const char *words);
// The k-th disk read from now on (0: the next) fails and all after it; UINT64_MAX: none.
void bed_fail_reads(uint64_t k);
bool bed_failed(void); // since then
