// SPDX-License-Identifier: BSD-2-Clause
// A make-believe disk and file system for the tests of the cache and of names. The disk's sectors say
// their own number; the file system's tree is what the test makes. Both can be slow and can fail.
#pragma once

#include "fs/filesystem.h"

#define FAKE_ROOT 2

extern struct fake_rules {
	uint32_t block_bytes;	   // before fake_start
	uint64_t delay_max_ns;	   // of a disk request; 0: as soon as WTDs run
	unsigned map_again_pct;	   // map_cached says -EAGAIN this often
	unsigned disk_fails_pct;   // a request fails, though its sectors are sound, this often
	unsigned submit_fails_pct; // and this often from inside block_submit
	bool format_sleeps;	   // the format's functions sleep a little
	uint32_t max_segs, max_sectors;
	uint64_t sectors; // of the disk; 0: 2^40
	// Writing.
	bool writable, dead;  // dead: the disk is not there any more
	uint64_t free_blocks; // 0: plenty
	uint32_t log_blocks;  // credits that one transaction may ask for; 0: any
	unsigned scatter_pct; // allocation gives less than was asked for, or elsewhere, this often
	unsigned allocate_fails_pct, inode_fails_pct, begin_fails_pct, write_fails_pct;
} fake_rules;
extern struct fake_counts {
	uint64_t requests, sectors, in_flight, in_flight_high, lookups, inode_reads, maps, links;
	uint64_t forgotten;
} fake_counts;

// shim_init, the cache, and the volume mounted; and back.
struct volume *fake_start(size_t frames);
int fake_stop(void); // -1: pages or inodes are still held

// Makes an inode in directory dir (0: in none) and gives its number.
uint64_t fake_file(uint64_t dir, const char *name, uint64_t size);
// The same, for a file that is written: it has no blocks yet.
uint64_t fake_new_file(uint64_t dir, const char *name);
uint64_t fake_dir(uint64_t dir, const char *name);
uint64_t fake_link(uint64_t dir, const char *name, const char *target);
void fake_unlink(uint64_t dir, const char *name);
void fake_set_error(uint64_t number, int error); // read_inode gives it
// Extents of the file are `blocks` long; holes: every third one; contiguous: they follow each other.
void fake_layout(uint64_t number, uint32_t blocks, bool holes, bool contiguous);
// Requests with a sector of that block of the file fail (disk), or mapping it gives -EUCLEAN (map).
void fake_bad_block(uint64_t number, uint64_t block, bool disk, bool map);
bool fake_page_bad(uint64_t number, uint64_t index); // has a bad block
bool fake_page_hole(uint64_t number, uint64_t index);

// ---- writing ----
extern struct fake_write_counts {
	uint64_t transactions, allocations, inodes, cancelled, requests, sectors;
} fake_writes;
// The format's part of a truncation: blocks beyond `size` are freed, and hold what nobody may see.
void fake_truncate_blocks(struct inode *inode, uint64_t size);
uint64_t fake_disk_size(uint64_t number); // as the last transaction says
uint64_t fake_promised(void);		  // blocks
bool fake_committed(void);		  // no data is on its way: the journal could commit now
// A block of the file as the disk has it. False: a hole.
bool fake_disk_block(uint64_t number, uint64_t block, uint8_t *out);
// Byte `at` of the file as the disk has it: 256: a hole.
unsigned fake_disk_byte(uint64_t number, uint64_t at);

// Whether page `index` of the file, at that physical address, holds what the disk holds.
bool fake_page_right(uint64_t number, uint64_t index, paddr_t addr);
